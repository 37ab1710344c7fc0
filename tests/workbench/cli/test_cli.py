"""The command line: every bad input is one line on stderr and exit code 2."""

import errno
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.compaction.export import export_safetensors
from gamepruning.errors import InputError
from gamepruning.files import process
from gamepruning.files.programs import keep_programs
from gamepruning.spelling import condense, flag_of
from gamepruning.workbench.cli.commands import (
    COMMANDS,
    description_of,
    parse,
    usage,
)
from gamepruning.workbench.cli.console import main
from gamepruning.workbench.jobs import sweep
from gamepruning.workbench.registry import ASKS, METHODS

HEAVY = {"jax", "numpy", "flax", "optax", "matplotlib", "sklearn", "pandas", "scipy"}
README = Path(__file__).parents[3] / "README.md"

NETS = """
import jax, jax.numpy as jnp

def make():
    one, two = jax.random.split(jax.random.key(0))
    params = {"w1": jax.random.normal(one, (4, 8)), "b1": jnp.zeros((1, 8)),
              "w2": jax.random.normal(two, (8, 3))}
    def apply(params, x):
        return jnp.tanh(x @ params["w1"] + params["b1"]) @ params["w2"]
    return apply, params, jnp.ones((2, 4))

def nothing_prunable():
    return lambda params, x: x.sum(1, keepdims=True) * jnp.ones(3), {}, jnp.ones((2, 4))

def unused_weights():
    apply = lambda params, x: x @ jnp.ones((4, 3)) + 0 * params["w"].sum()
    return apply, {"w": jnp.ones((3, 3))}, jnp.ones((2, 4))

def two_inputs():
    inputs = (jnp.ones((2, 4)), jnp.ones((2, 3)))
    return lambda params, x, y: x @ params + y, jnp.ones((4, 3)), inputs

def three_wide():
    return lambda params, x: x @ params, jnp.ones((3, 3)), jnp.ones((2, 3))

def seven_outputs():
    a, b = jnp.ones((4, 5)), jnp.ones((5, 7))
    return lambda p, x: x @ p[0] @ p[1], [a, b], jnp.ones((2, 4))

def quits():
    raise SystemExit(3)

def fails():
    raise RuntimeError("first line\\nsecond line")

def not_a_network():
    return 3

def apply_fails():
    return lambda params, x: x @ params, jnp.ones((7, 3)), jnp.ones((2, 4))

value = 3
"""


def write_table(path, rows, header="a,b,c,d,target"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with a few files to name."""
    monkeypatch.chdir(tmp_path)
    for name in ("GAMEPRUNING_DATA", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "broken.py").write_text("def make(:\n")
    rng = np.random.default_rng(0)
    good = [
        f"{a:.3f},{b:.3f},0,1,{'xyz'[i % 3]}"
        for i, (a, b) in enumerate(rng.normal(size=(60, 2)))
    ]
    write_table(tmp_path / "good.csv", good)
    write_table(tmp_path / "inf.csv", ["inf,1,2,3,x", *good])
    write_table(tmp_path / "large.csv", ["1e300,1,2,3,x", *good])
    wide = [f"{i},{i * i % 97},0,1,{i}.5e20" for i in range(60)]
    write_table(tmp_path / "large_target.csv", wide)
    write_table(tmp_path / "ragged.csv", ["1,2", *good])
    write_table(tmp_path / "empty.csv", [])
    write_table(tmp_path / "constant.csv", [row[:-1] + "x" for row in good])
    (tmp_path / "taken").mkdir()
    (tmp_path / "corrupt.safetensors").write_bytes(b"hello")
    export_safetensors({"w": jnp.ones(3)}, tmp_path / "other.safetensors")
    (tmp_path / "text.json").write_text("hello")
    return tmp_path


BASELINE = "--method magnitude --keep"
TABLE = "prune --dataset good.csv"
APPLY = "apply-plan --checkpoint other.safetensors --out o"
BAD = {
    "no such command": "prun",
    "no such flag": "prune --colour red",
    "a word too many": "prune digits",
    "not a number": "prune --epochs many",
    "no such method": "prune --method magic",
    "no such preset": "prune --preset soft",
    "unknown data set": "prune --dataset mnits",
    "data missing": "prune --dataset mnist",
    "no data folder": "prune --dataset mnist --data-dir nowhere",
    "no such table": "prune --dataset nowhere.csv",
    "infinite data": "prune --dataset inf.csv",
    "infinity in data": "prune --dataset inf.csv",
    "data too large": "prune --dataset large.csv",
    "target too large": "prune --dataset large_target.csv --task regression",
    "no data folder for digits": "prune --data-dir nowhere",
    "no such column": f"{TABLE} --target colour",
    "numbers where there is text": f"{TABLE} --task regression",
    "digits have no target": "prune --target a",
    "ragged data": "prune --dataset ragged.csv",
    "empty data": "prune --dataset empty.csv",
    "labels all the same": "prune --dataset constant.csv",
    "no such model": "prune --model lenet",
    "a model for images": "prune --model lenet_5 --dataset good.csv",
    "widths of a model without": "prune --model resnet --widths 3",
    "run folder exists": "prune --out taken",
    "nothing to resume": "prune --resume --out new",
    "resume what": "prune --resume",
    "keep with a preset": "prune --keep 3 --preset l1_strong",
    "baseline without keep": "prune --method taylor",
    "keep is no size": f"prune {BASELINE} lots",
    "keep everyone": f"prune {BASELINE} 768",
    "keep too few": f"prune {BASELINE} 1",
    "an emptied layer": f"prune {BASELINE} 5/0",
    "counts for other families": f"prune {BASELINE} 5/5/5",
    "more than there are": f"prune {BASELINE} 600/5",
    "round up to more than there are": "prune --round-to 300",
    "batch larger than the data": "prune --batch-size 100000",
    "seed below zero": "prune --seed -1",
    "seed of 64 bits": "prune --seed 9223372036854775808",
    "module and model": "prune --module nets.py:make --model mlp",
    "module and widths": "prune --module nets.py:make --widths 3",
    "explain module and data": "explain --module nets.py:make --dataset nope",
    "explain a folder without data": "explain --data-dir nowhere",
    "missing checkpoint": "prune --load none.safetensors",
    "corrupt checkpoint": "prune --load corrupt.safetensors",
    "checkpoint of another model": "prune --load other.safetensors",
    "module is not a file": "explain --module none.py:make",
    "module has no colon": "explain --module nets.py",
    "module does not parse": "explain --module broken.py:make",
    "module has no function": "explain --module nets.py:missing",
    "module names no function": "explain --module nets.py:value",
    "factory exits": "explain --module nets.py:quits",
    "factory fails": "explain --module nets.py:fails",
    "factory returns a number": "explain --module nets.py:not_a_network",
    "apply fails": "explain --module nets.py:apply_fails",
    "no parameters": "explain --module nets.py:nothing_prunable",
    "nothing prunable": "explain --module nets.py:unused_weights",
    "prune nothing prunable": f"{TABLE} --module nets.py:unused_weights",
    "prune two inputs": f"{TABLE} --module nets.py:two_inputs",
    "other input shape": f"{TABLE} --module nets.py:three_wide",
    "other output shape": f"{TABLE} --module nets.py:seven_outputs",
    "no plan": f"{APPLY} --plan no.json",
    "plan is text": f"{APPLY} --plan text.json",
    "apply-plan without flags": "apply-plan",
    "a command that moved": "bench latency",
    "explain granularity": "explain --granularity pixel",
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_leaves_nothing(words, here, capsys):
    before = sorted(here.rglob("*"))
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert said.err.startswith("gamepruning: ")
    assert said.err.count("\n") == 1 and said.err.endswith("\n")
    assert "Traceback" not in said.err + said.out
    after = sorted(path for path in here.rglob("*") if "__pycache__" not in path.parts)
    assert after == before


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples(name, capsys):
    assert main([name, "--help"]) == 0
    said = capsys.readouterr()
    assert f"gamepruning {name}" in said.out
    assert "Examples:" in said.out
    assert said.err == ""


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_of_the_program(words, capsys):
    assert main(words) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in COMMANDS)


@pytest.mark.parametrize("name", ["prune", "methods"])
def test_help_of_a_command_by_the_word(name, capsys):
    assert main(["help", name]) == 0
    assert f"gamepruning {name}" in capsys.readouterr().out
    assert main(["help", "prun"]) == 2
    assert "did you mean prune" in capsys.readouterr().err


def test_the_package_runs_as_a_module():
    words = [sys.executable, "-m", "gamepruning", "--version"]
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    assert run.stdout.count(".") == 2


@pytest.mark.parametrize("name", ["fails", "apply_fails"])
def test_a_bug_in_a_factory_has_its_file_and_line(name, here, capsys):
    assert main(["explain", "--module", f"nets.py:{name}"]) == 2
    (line,) = re.findall(r"\(nets\.py, line (\d+)\)", capsys.readouterr().err)
    assert NETS.splitlines()[int(line) - 1].strip().startswith(("raise", "return"))


def test_percentage_points_are_no_drop_of_accuracy(here, capsys):
    assert main("prune --dataset good.csv --method ucb1 --max-drop 5".split()) == 2
    assert "type --max-drop 0.05" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["bands", "sweep", "explain", "curve"])
def test_commands_that_read_tables_take_their_flags(command, here, capsys):
    words = [command, "--dataset", "good.csv", "--target", "a", "--drop", "nothing"]
    assert main(words) == 2
    assert "no column 'nothing'" in capsys.readouterr().err


def test_bench_says_where_it_went(capsys):
    assert main(["bench", "trace"]) == 2
    assert "run `python -m benchmarks` in a checkout" in capsys.readouterr().err


def test_methods_lists_the_registry(capsys):
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    assert names == list(METHODS)
    heads = [line for line in lines if line.endswith(":")]
    assert len(heads) == 4 and heads[2].startswith("Bandits, which remove the worst")


@pytest.mark.parametrize("name", METHODS)
def test_help_of_a_method_has_no_flag_that_it_does_not_take(name, capsys):
    def flags(*words):
        assert main([*words]) == 0
        told = capsys.readouterr().out
        found = re.findall(r"^\W --([a-z-]+)", told, flags=re.M)
        return {flag.replace("-", "_") for flag in found}, told.split("\n\n")[1]

    whole, _ = flags("prune", "--help")
    asked = f"prune {name} --help", f"help prune {name}", f"prune -h --method={name}"
    for words in asked[: 3 if name == "taylor" else 1]:
        found, about = flags(*words.split())
        assert about == METHODS[name].about.splitlines()[0]
        assert found == whole - METHODS[name].unused
    assert METHODS[name].unused < whole and {"keep", "fine_tune", "seed"} < found


def test_a_method_is_the_first_word_or_a_flag():
    words = ["--keep", "0.3", "--seed", "2"]
    run, other = (
        parse(["prune", "shapley", *words]),
        parse(["prune", *words, "--method", "shapley"]),
    )
    assert run.keywords == other.keywords
    assert run.keywords["settings"].method == "shapley"
    with pytest.raises(InputError, match="no method 'shaply': did you mean shapley?"):
        parse(["prune", "shaply", *words])
    with pytest.raises(InputError, match="given twice, as taylor and as shapley"):
        parse(["prune", "shapley", "--method", "taylor"])


def test_help_says_which_flags_go_with_which_kind_of_method():
    lines = description_of("prune").splitlines()
    for kind, flags in ASKS.items():
        (line,) = [line for line in lines if line.split()[:1] == [kind]]
        assert all(f" {flag_of(name)}" in line for name in flags)


def test_help_and_bad_input_are_quick():
    """Neither jax nor anything else that takes long is imported for them."""
    codes = {"--help": 0, "prune taylor --help": 0, "prun": 2, "prune --keep 2.5": 2}
    codes |= {f"{name} --help": 0 for name in COMMANDS}
    program = (
        "import sys; from gamepruning.workbench.cli.console import main; "
        f"codes = [main(words.split()) for words in {list(codes)!r}]; "
        f"print(codes, sorted({HEAVY!r} & sys.modules.keys()), file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stderr.splitlines()[-1] == f"{list(codes.values())} []"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


def test_explain_a_network_of_ones_own(here, capsys):
    assert main("explain --module nets.py:make".split()) == 0
    assert "8 players" in capsys.readouterr().out
    assert main("explain --module nets.py:make --json".split()) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["num_players"] == 8


@pytest.mark.parametrize("model", ["mlp", "resnet", "transformer"])
def test_explain_a_network_of_the_workbench(model, capsys):
    assert main(["explain", "--model", model]) == 0
    assert "players" in capsys.readouterr().out


def test_datasets_says_how_to_get_what_is_missing(here, capsys):
    assert main(["datasets"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "digits" in said and "missing" in said
    assert "mnist: prepare it once" in said
    assert "wine table classification built in (scikit-learn)" in said


def test_arguments_are_named_as_people_type_them(here, capsys):
    """Flags in the text, but Python in the code between backticks."""
    assert main("prune --dataset mnist".split()) == 2
    said = capsys.readouterr().err
    (code,) = re.findall("`(.*?)`", said)
    compile(code, "advice", "eval")
    assert "--data-dir" in said and "data_dir" not in said.replace(code, "")
    assert main(["prune", "--epochs", "many"]) == 2
    assert "{" not in capsys.readouterr().err


def printed_examples() -> list[str]:
    """Commands with arguments in the README, and those in all help texts."""
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    found = re.findall(r"`(gamepruning [a-z-]+ [^`]+)`", text)
    found += re.findall(r"&& (gamepruning .*)", text)
    helps = "\n".join([usage(), *map(description_of, COMMANDS)])
    helps = re.sub(r"\n +--", " --", helps)
    found += re.findall(r"^ +(gamepruning [a-z-]+\S*(?: \S+)*)", helps, flags=re.M)
    return sorted({" ".join(example.split()) for example in found})


@pytest.mark.parametrize("example", printed_examples())
def test_printed_examples_work(example, capsys):
    """All of them parse; explaining what needs no files is done for real."""
    _, *words = shlex.split(example)
    run = parse(words)
    if words[0] == "explain" and not {"--module", "--dataset"} & set(words):
        run()
        assert "players" in capsys.readouterr().out


def test_there_are_printed_examples():
    some = {"gamepruning explain --model lenet_5", "gamepruning methods"}
    assert some <= set(printed_examples())


def test_a_full_disk_is_one_line(monkeypatch, capsys):
    def fill():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/a")

    monkeypatch.setattr("gamepruning.workbench.cli.commands.parse", lambda words: fill)
    assert main(["prune"]) == 2
    assert capsys.readouterr().err == "gamepruning: No space left on device: runs/a\n"


def test_an_interruption_is_one_line_and_130(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "gamepruning.workbench.cli.commands.parse", lambda words: interrupt
    )
    assert main(["prune"]) == 130
    assert capsys.readouterr().err == "gamepruning: interrupted\n"


@pytest.mark.parametrize("words", ["--version", "nothing"])
def test_closed_streams_are_no_error(words):
    run = subprocess.run(
        f"{shlex.quote(sys.executable)} -m gamepruning {words} >&-",
        capture_output=True,
        text=True,
        shell=True,
        check=False,
    )
    assert run.returncode == (2 if words == "nothing" else 0)
    assert run.stderr.startswith("gamepruning: no command" if run.returncode else "")
    assert "Traceback" not in run.stderr


def test_letters_that_an_encoding_lacks_are_written_out():
    code = (
        "from gamepruning.workbench.cli import console; "
        "console.main = lambda: print('25 \u00d7') or 0; console.console()"
    )
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    words = [sys.executable, "-c", code]
    run = subprocess.run(words, capture_output=True, env=env, check=True)
    assert run.stdout.strip() == b"25 \\xd7"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3.64 TiB\nfor an array"),
        RuntimeError("RESOURCE_EXHAUSTED: Unable to allocate 3.64 TiB"),
    ],
)
def test_too_little_memory_is_one_line(error, monkeypatch, capsys):
    def fail():
        raise error

    monkeypatch.setattr("gamepruning.workbench.cli.commands.parse", lambda words: fail)
    assert main(["prune"]) == 2
    told = "gamepruning: too little memory: Unable to allocate 3.64 TiB\n"
    assert capsys.readouterr().err == told


def test_an_interruption_that_would_be_dropped_comes_again(monkeypatch):
    """Python ignores what is raised in jax's callback of the garbage collector."""
    done = []

    def _xla_gc_callback():
        signal.raise_signal(signal.SIGINT)
        done.append(True)

    monkeypatch.setattr(process, "_PATIENCE", 1e6)
    before = signal.signal(signal.SIGINT, process.interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            _xla_gc_callback()
            time.sleep(10)
        assert done == [True]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "words",
    [
        "predict run rows.csv --out=~/new.csv",
        "predict --out ~/new.csv ~/run rows.csv",
        "apply-plan --plan=p --checkpoint=c --out=~/new.csv",
        "prune --out=~/new.csv",
        "datasets --data-dir=~/new.csv",
    ],
)
def test_the_home_folder_is_meant_by_a_tilde(words, here):
    """The shell leaves --out=~/x as it is."""
    given = parse(words.split()).keywords  # type: ignore[attr-defined]
    assert here / "home" / "new.csv" in given.values()


def test_a_tilde_of_nobody_is_one_line(here, capsys):
    assert main("prune --dataset ~nobody_of_this_name/t.csv".split()) == 2
    assert "no file ~nobody_of_this_name/t.csv" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error():
    code = (
        "import sys; from gamepruning.workbench.cli.console import main; "
        "sys.exit(main(['explain', '--model', 'transformer', '--json']))"
    )
    run = subprocess.run(
        f'"{sys.executable}" -c "{code}" | head -c 10',
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert run.stderr == ""


def test_the_program_as_a_process(here):
    """The real thing: exit code, one line, nothing else on either stream."""
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "gamepruning.workbench.cli.console",
            "prune",
            "--out",
            "taken",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines() == [
        "gamepruning: the run folder taken exists: choose another with --out, or move "
        "it away"
    ]


def test_an_interrupted_run_says_how_to_go_on(here):
    """A real interruption of a real process."""
    # A shell starts what runs in the background deaf to interruptions.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from gamepruning.workbench.cli.console import console; console()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, "prune", "--out", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    metrics = here / "run.partial" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.is_file() and metrics.stat().st_size > 500):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    try:
        _, said = run.communicate(timeout=120)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 130
    assert said.splitlines() == [
        "gamepruning: interrupted; resume with: gamepruning prune --resume --out run"
    ]
    assert (here / "run.partial" / "checkpoints" / "dense.npz").is_file()


def test_parse_defers_the_work():
    run = parse(["prune", "--seed", "3"])
    assert run.keywords["settings"].seed == 3  # type: ignore[attr-defined]


def test_a_sweep_takes_all_cores_before_jax_starts(monkeypatch, capsys):
    def stop():
        raise InputError("cores first")

    monkeypatch.setattr(sweep, "use_cores_as_devices", stop)
    assert main(["sweep"]) == 2
    assert capsys.readouterr().err == "gamepruning: cores first\n"


COMPLAINTS = {
    "prune --methd ucb1": "no such option: --methd: did you mean --method?",
    "prune extra": "no method 'extra' (see gamepruning methods; --dataset names data)",
    "prune mnist": "no method 'mnist' (see gamepruning methods; --dataset names data)",
    "prune TAYLOR": "no method 'TAYLOR': did you mean taylor? (see gamepruning",
    "prune taylor extra": "prune does not take the word 'extra': name its option",
    "prune taylor --resume": "--resume takes the run's own method: leave taylor out",
    "predict": "predict needs RUN and rows.csv",
    "apply-plan --out x": "apply-plan needs --plan and --checkpoint",
    "curve --seeds 0 1 2": "--seeds takes one number, how many there are, such as 3",
    "curve --seeds 0,1": "expected --seeds as one whole number, how many",
    "prune --method ucb1 random": "--method takes one value; got ucb1 random",
    "prune --price a": "expected --price as one number; got 'a'",
    "prune --drop a --drop b": "--drop is given twice, as a and as b: give it once",
    "curve --keep 0.1": "no such option: --keep: did you mean --sizes?",  # not -column
    "prune --seeds 3": "no such option: --seeds: did you mean --seed?",
    "bands --keep 0.1": "no such option: --keep in bands: prune, compare have it",
    "predict a b --output c": "no such option: --output: did you mean --out?",
    "prune --keep 0": "expected --keep as a fraction in (0, 1) such as 0.1",
    "prune --method": "--method needs a value",
    "prune --preset l1": "expected --preset to be one of 'very_high_beta', ",
    "prune --epochs many": "expected --epochs as a whole number, got 'many'",
    "curve --sizes 0.1,0.2": "--sizes cannot be '0.1,0.2': put spaces between values",
    "apply-plan": "apply-plan needs --plan and --checkpoint and --out",
}


@pytest.mark.parametrize("terminal", ["colours", "utf-8", "ascii"])
def test_a_complaint_is_one_line_on_every_terminal(terminal, monkeypatch, capsys):
    """What draws boxes looks at the standard output, and draws them in three ways."""
    encoding = "ascii" if terminal == "ascii" else "utf-8"
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(screen, "isatty", lambda: terminal == "colours")
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    for words, told in COMPLAINTS.items():
        assert main(words.split()) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"gamepruning: {told}"), line
        assert "--help" not in line and "\x1b" not in line and "--- " not in line


def test_condense_keeps_the_first_complaint():
    box = "╭─ Title ─╮\n│ one │\n│ two │\n│ ─── │\n│ see --help │\n╰───╯"
    assert condense(box) == "one two"
    assert condense("") == "bad arguments"


def test_compiled_programs_are_kept_unless_the_user_says_where(tmp_path, monkeypatch):
    # set first, so that monkeypatch takes away what the command sets
    for name in (
        "JAX_COMPILATION_CACHE_DIR",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
    ):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("GAMEPRUNING_CACHE", str(tmp_path))
    with warnings.catch_warnings():
        keep_programs()
        kept = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
        assert kept.is_dir() and kept.parent == tmp_path
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
        keep_programs()
        assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"


def test_no_place_for_compiled_programs_is_no_error(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("")
    for place in (str(tmp_path / "file"), "~nobody-of-this-name/cache"):
        monkeypatch.setenv("GAMEPRUNING_CACHE", place)
        keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
