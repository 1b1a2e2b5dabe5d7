"""Names of the files in model folders and score folders, for those who write them and those who read them."""

# Model folder
CARD = "model.json"
WEIGHTS = "model.safetensors"
HISTORY = "history.csv"
SPLIT = "split.csv"
README = "README.md"
RESUME, PLAN = "resume", "plan.json"
CROSS_FITTED, FOLDS = "cross_fitted", "fold_*"
PROPORTIONS = "proportions.csv"
COMPARISON = "comparison.csv"

# Score folder
RUN = "run.json"
FAILURES = "failures.csv"
LEVELS = ("images", "wells", "treatments")
CELLS = ("cells.parquet", "cells.csv")
NAMES = "names.csv"
PARTS, MASKS, MAPS = "parts", "masks", "maps"
# of blocks
CONSISTENCY = "consistency.csv"
EVALUATION = "evaluation.csv"
OUTLINES, REGIONS, GEOJSON = "regions", "regions.parquet", "regions.geojson"
# of volumes
VOLUMES = ("volumes.parquet", "volumes.csv")
SOLIDS = "solids.json"
EMBEDDINGS = "embeddings.parquet"

# Blocks to be labelled
FORM, SHEET, PICTURE = "form.csv", "sheet.html", "sheet.png"
