"""What the parameters of a stage are, as the one door reads them off their annotations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

Output = Annotated[Path, "output"]
Outputs = Annotated[list[Path], "output"]
Scratch = Annotated[Path, "kept while the stage runs, to resume from"]
Folder = Annotated[Path, "a folder of outputs"]
Folders = Annotated[Sequence[Path], "folders"]
Count = Annotated[int, "a number"]
Name = Annotated[str, "input"]
Settings = Mapping[str, Any]
