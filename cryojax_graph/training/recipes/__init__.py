"""Short recipes: data + model + objective → fit, one per system."""
