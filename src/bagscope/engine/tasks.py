"""Which tasks there are, by name: the only place that names their packages."""

from bagscope.registry import Registry

# Each entry: a module with refuse_impossible(job) and build_network(card). That of images also has
# measured_setup(job, rows), make_task(job, rows, setup, device), learn_cells(task, net, bf16, ...), and FieldView and
# find_cells for a field.
TASKS = Registry(
    "task",
    {"images": "bagscope.images.setup", "blocks": "bagscope.blocks.setup", "volumes": "bagscope.volumes.setup"},
)
