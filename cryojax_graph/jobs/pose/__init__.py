"""``pose``: orientation and shift of every particle image, with a map or a model as reference."""

from cryojax_graph.jobs.pose.config import MapConfig, PoseConfig
from cryojax_graph.jobs.pose.run import plan_pose, pose

__all__ = ["MapConfig", "PoseConfig", "plan_pose", "pose"]
