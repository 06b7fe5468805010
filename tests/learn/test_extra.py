"""Without torch: what needs it says which extra brings it, and the rest works as ever."""

import pytest

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import gptex
"""
DATASETS = ["TextureDataset", "RecipeDataset", "RecipeStream", "ShardShuffle", "DeviceTextures", "open", "split"]
NAMES = [*DATASETS, "Backdrop", "backdrop", "auc_loss", "soft_f_beta_loss", "plot_gradient_reach"]


@pytest.mark.parametrize("name", NAMES)
def test_without_torch_a_name_that_needs_it_names_the_extra(run_python, name):
    done = run_python(f"""{WITHOUT_TORCH}
try:
    gptex.{name}
except gptex.MissingExtraError as error:
    print(error)
""")
    assert (done.stdout, done.stderr) == (
        "learning needs torch, which the extra gptex[torch] brings: pip install torch\n",
        "",
    )


def test_without_torch_the_rest_works(run_python):
    done = run_python(f"""{WITHOUT_TORCH}
from gptex.store.reader import SplitReader
recipe = gptex.preset("golkar-cranmer-2018").replace(splits={{"train": 1}})
gptex.generate(recipe, "out", workers=1, progress=False)
print(SplitReader("out", "train").read([3]).images.shape)
""")
    assert (done.stdout, done.stderr) == ("(1, 1024, 1024)\n", "")


def test_gptex_and_what_reads_and_writes_import_no_torch(run_python):
    done = run_python("""
import sys
import gptex, gptex.store.reader, gptex.published, gptex.show, gptex_cli.main
print([name for name in sys.modules if name.partition(".")[0] == "torch"], "TextureDataset" in dir(gptex))
""")
    assert (done.stdout, done.stderr) == ("[] True\n", "")


def test_without_matplotlib_a_plot_names_the_extra(run_python):
    done = run_python("""
import sys
sys.modules["matplotlib.figure"] = None
import gptex
try:
    gptex.RecipeDataset("golkar-cranmer-2018", length=1).plot(0)
except gptex.MissingExtraError as error:
    print(error)
""")
    assert "gptex[plot]" in done.stdout
