"""What is learned from what: each task is one object, chosen once, where the job is read."""

from bagscope.registry import Registry

TASKS = Registry("task", {"images": "bagscope.tasks.images.task:ImagesTask"})
