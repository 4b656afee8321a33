"""x."""
from cryojax_graph.jobs.map_quality.assess import *
from cryojax_graph.jobs.map_quality.assess import assess, sharpened_map
from cryojax_graph.jobs.map_quality.settings import QualitySettings
