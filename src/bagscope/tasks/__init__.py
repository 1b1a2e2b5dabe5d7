"""What is learned from what: each task is one object, chosen once, where the job is read."""

from bagscope.registry import Registry

# Each entry: a module with refuse_impossible(job) and build_network(card). That of images also has
# measured_setup(job, rows), make_task(job, rows, setup, device), learn_cells(task, net, bf16, ...), and FieldView and
# find_cells for a field.
TASKS = Registry("task", {name: f"bagscope.tasks.{name}.setup" for name in ("images", "blocks", "volumes")})
