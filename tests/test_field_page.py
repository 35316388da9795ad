"""What docs/field.md tells a reader to type works, in its order."""

import os
import re
import shutil
import subprocess
import sys

import pandas as pd
from repository import REPOSITORY, SMOKE

PAGE = (REPOSITORY / "docs/field.md").read_text()


def test_the_page_on_a_model_of_your_own_works(smoke, tmp_path):
    folder = shutil.copytree(smoke, tmp_path / "nearorbit", symlinks=True)
    (folder / "mine.py").write_text(re.search(r"The file `mine.py`:\n\n```python\n(.*?)^```$", PAGE, re.M | re.S)[1])
    (line,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)
    (folder / SMOKE).write_text(f"{line}\n{(REPOSITORY / SMOKE).read_text()}")
    by_hand, tabled = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)
    for typed in (by_hand, tabled):
        search = {"PATH": f"{sys.exec_prefix}/bin:{os.environ['PATH']}", "PYTHONPATH": str(folder / "src")}
        done = subprocess.run(
            ["bash", "-ec", typed], cwd=folder, env=os.environ | search, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{typed}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    whole, mine = pd.read_csv(folder / "results/smoke/scores.csv"), pd.read_csv(folder / "mine.csv")
    of_mine = whole[whole["method"] == "mine"].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_mine.drop(columns="noise"), mine.drop(columns="noise"))
    assert of_mine.set_index("metric").loc["jacobian_error", "value"].between(1e-3, 0.1).all(), "rho is 27"
    assert "| mine (brought)" in (folder / "results/smoke/tables/overview.md").read_text()
