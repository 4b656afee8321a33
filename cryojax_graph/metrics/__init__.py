"""How close two things are: coordinates, maps, latents."""
