"""Turn an error into one message for the user, or leave it to its traceback if it may be a bug.

`diagnose` is the only place that knows which errors are a user's mistakes. The first rule of
`OUTSIDE` and `RULES` that applies gives the message.
"""

import errno
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb, walk_tb
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import build_from_cfg
from mmengine.runner import Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from uniformer_mm.compat.distributions import install_command
from uniformer_mm.errors import STACK, UserError, add_hint, causes_of, is_in_own_code, package_of
from uniformer_mm.models import UniFormer
from uniformer_mm.tasks import TASKS

Rule = Callable[[BaseException], str]
"""Returns the message of an error, empty if it does not apply."""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
MAX_LENGTH = 400
"""Characters of another library's message: those of mmengine may hold a whole dataset."""

CONFIG_FILE = inspect.getfile(ConfigDict)
RUNNER_FILE = inspect.getfile(Runner)
RUNNER_STEP = re.compile(r"(?:build|set|setup|register|_init)_(?!hooks?$)(\w+)")
"""Methods in which a Runner builds a part of its config."""

UNFIT_OPTION = re.compile(
    r"unexpected keyword argument '(\w+)'|missing \d+ required|multiple values for .*'(\w+)'"
)
OUTPUT_NORM = re.compile(r"(?:.+\.)?norm([1-4])\.(?:weight|bias)")
"""Parameters of a backbone's output norm; the number of the stage from 1."""


def diagnose(error: BaseException) -> str:
    """Explain a user's mistake; empty if the error is, or may be, a bug.

    Errors from the worker processes of a data loader hold the original traceback as text. What
    comes from outside the code, such as the end of such a process, may be the cause of another
    error.
    """
    rules = OUTSIDE if is_in_own_code(error) else (*OUTSIDE, *RULES)
    messages = [rule(error) for rule in rules]
    messages += [rule(cause) for cause in causes_of(error) for rule in OUTSIDE]
    return next(filter(None, messages), "")


@contextmanager
def building() -> Iterator[None]:
    """Raise the mistakes in a config as `UserError` where something is built from it.

    An error that may be a bug is raised as it is, with a hint.
    """
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        if message := config_fault(error):
            raise UserError(message) from error
        add_hint(error, bug_hint(error))
        raise


def config_fault(error: BaseException) -> str:
    """Explain why something cannot be built from a config; empty if it may be a bug.

    The config is at fault if a type does not accept its options, if a check of the stack refuses a
    value, or if a package is not installed.
    """
    if not (_is_of_options(error) or _is_refused(error) or _lacks_package(error)):
        return ""
    part = part_at_fault(error)
    return f"the config cannot be built: {part and part + ': '}{reason(error)}{install_hint(error)}"


def bug_hint(error: BaseException) -> str:
    """Advice on an error that is not certainly a mistake in the config."""
    part = part_at_fault(error)
    where = f"while {part} was built from the config" if part else "while the config was used"
    return (
        f"raised {where}. If a value there is not what that code expects, change it; otherwise"
        f" the code has a bug.{install_hint(error)}"
    )


def reason(error: BaseException) -> str:
    """Class and message of an error, in one line that ends with a full stop."""
    message: Any = error.args[0] if isinstance(error, KeyError) and error.args else error
    if isinstance(error, AssertionError) and not str(error):
        message = f"expected {_asserted(error)}"
    text = " ".join(f"{type(error).__name__}: {message}".split()).rstrip(".")
    return f"{text[:MAX_LENGTH]} ..." if len(text) > MAX_LENGTH else f"{text}."


def install_hint(error: BaseException) -> str:
    """The command that installs the missing part of the stack that an error names."""
    for task in TASKS.values():
        if find_spec(task.scope) is None and task.scope in str(error):
            return f" {task.scope} is not installed: {install_command(task.scope, task.extra)}"
    if find_spec("mmcv") is None:
        return " mmcv is not installed: pip install 'uniformer-mm[lite]' (or a compiled mmcv)"
    return ""


def part_at_fault(error: BaseException) -> str:
    """The innermost part of a config that was being built: a type, or the Runner's name for it."""
    kind: Any = None
    part = ""
    for frame, _ in walk_tb(error.__traceback__):
        code = frame.f_code
        if code is build_from_cfg.__code__:
            kind = frame.f_locals.get("obj_type", kind)
        elif code.co_filename == RUNNER_FILE and (step := RUNNER_STEP.match(code.co_name)):
            part = part or step[1]
    return part if kind is None else getattr(kind, "__name__", str(kind))


def _is_of_options(error: BaseException) -> bool:
    """Whether mmengine called something with options that it does not accept."""
    if not isinstance(error, TypeError) or not (unfit := UNFIT_OPTION.search(str(error))):
        return False
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    options = (f.f_locals.get("args", ()) for f in frames if f.f_code is build_from_cfg.__code__)
    return package_of(frames[-1]) == "mmengine" or any(unfit[1] in names for names in options)


def _is_refused(error: BaseException) -> bool:
    """Whether a check of the stack raised the error, and no bug in code that calls it."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    statement = (extract_tb(error.__traceback__)[-1].line or "").partition(" ")[0]
    checked = statement in ("raise", "assert") and package_of(frame) in STACK
    if isinstance(error, AttributeError):  # which torch's modules raise as well: a key of a config
        checked = frame.f_code.co_filename == CONFIG_FILE
    return checked and not is_in_own_code(error)


def _lacks_package(error: BaseException) -> bool:
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return name in STACK and find_spec(name) is None


def _asserted(error: BaseException) -> str:
    """The condition of a failed assertion, in Python."""
    return (extract_tb(error.__traceback__)[-1].line or "").removeprefix("assert ")


def _when(kind: type[BaseException], pattern: str, message: str) -> Rule:
    """A rule for errors of a type whose text matches; {0} is the match, {1} its first group."""

    def rule(error: BaseException) -> str:
        match = re.search(pattern, str(error)) if isinstance(error, kind) else None
        return message.format(match[0], *match.groups()) if match else ""

    return rule


def _user_error(error: BaseException) -> str:
    # Raised in a worker process, the text is a traceback that ends with the message.
    text = str(error) if isinstance(error, UserError) else ""
    return text.rsplit("UserError: ", 1)[-1].rstrip()


def _disk_error(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f"cannot write {error.filename or 'logs'}: {error.strerror}. Free some disk space."
    return ""


def _config_error(error: BaseException) -> str:
    return config_fault(error) if part_at_fault(error) else ""


def _refused_input(error: BaseException) -> str:
    """Checks of a backbone's input."""
    if not isinstance(error, ValueError) or part_at_fault(error):
        return ""
    names = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    if not names or not names[-1].startswith(UniFormer.__module__.rpartition(".")[0]):
        return ""
    return f"the parts of the model do not match each other or the data: {error}."


def _silent_assertion(error: BaseException) -> str:
    """Assertions of the codebases without a message, about settings that contradict each other."""
    if not isinstance(error, AssertionError) or str(error):
        return ""
    last = extract_tb(error.__traceback__)[-1]
    parts = Path(last.filename).parts
    for scope in TASKS:
        if scope in parts:
            file = "/".join(parts[parts.index(scope) :])
            line = f"{file}, line {last.lineno}, expects {_asserted(error)}"
            return f"the config contradicts itself: {line}."
    return ""


def _unused_parameters(error: BaseException) -> str:
    """Parameters without a gradient in DistributedDataParallel."""
    text = str(error)
    if not isinstance(error, RuntimeError) or not text.startswith(
        "Expected to have finished reduction in the prior iteration"
    ):
        return ""
    wrapper = _locals(error, lambda v: isinstance(v.get("self"), DistributedDataParallel))
    model: nn.Module = wrapper["self"].module if wrapper else nn.Module()
    trained = [name for name, weights in model.named_parameters() if weights.requires_grad]
    found = re.search(r"did not receive grad for rank \d+: ([\d ]+)", text)
    unused = [trained[int(index)] for index in found[1].split()] if found and trained else []
    outputs = {int(match[1]) - 1 for name in unused if (match := OUTPUT_NORM.fullmatch(name))}
    backbone = next((m for m in model.modules() if isinstance(m, UniFormer)), None)
    named = f" ({', '.join(unused[:4])}{', ...' if len(unused) > 4 else ''})" if unused else ""
    message = f"parameters{named} get no gradient, for which the other processes wait"
    if outputs and backbone is not None:
        used = tuple(index for index in backbone.out_indices if index not in outputs)
        widths = [backbone.embed_dims[index] for index in used]
        message += (
            f": no head uses output {' and '.join(map(str, sorted(outputs)))} of the backbone. Set"
            f" model.backbone.out_indices={used} and count only these outputs in the modules after"
            f" it: a neck's in_channels={widths} with start_level=0, a head's in_index from 0"
        )
        if len(outputs) * 2 == len(unused):
            return f"{message}."
    return (
        f"{message}. Remove modules that no loss needs from the model, or set"
        " find_unused_parameters=True in the config, which makes every iteration slower."
    )


def _too_few_tokens(error: BaseException) -> str:
    """`topk` of fewer scores than queries, in DETR-like detectors."""
    if not isinstance(error, RuntimeError) or "selected index k out of range" not in str(error):
        return ""
    if values := _locals(error, lambda v: "max_per_img" in v and "cls_score" in v):
        queries, classes = values["cls_score"].shape[-2:]
        return (
            f"model.test_cfg.max_per_img is {values['max_per_img']}, but a model with {queries}"
            f" queries and {classes} classes has {queries * classes} scores: lower it to that."
        )
    values = _locals(
        error, lambda v: "enc_outputs_class" in v and hasattr(v.get("self"), "num_queries")
    )
    if not values:
        return ""
    model, tokens = values["self"], values["enc_outputs_class"].shape[1]
    return (
        f"{type(model).__name__} selects its {model.num_queries} queries from the tokens of its"
        f" feature maps, but these images have only {tokens} tokens. Use larger images"
        " (the scale of Resize in the pipelines), or set model.num_queries and"
        f" model.test_cfg.max_per_img to {tokens} or less."
    )


def _locals(error: BaseException, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Local variables of the innermost call in a traceback that has the wanted ones."""
    frames = [frame.f_locals for frame, _ in walk_tb(error.__traceback__)]
    return next(filter(wanted, reversed(frames)), {})


ABSENT = r"No such file or directory: '(.+?)'"
ABSENT_MESSAGE = "there is no file {1}. Put it there, or remove it from the annotations or config."
OUTSIDE: tuple[Rule, ...] = (
    _user_error,
    _when(
        Exception,
        r"DataLoader worker \(pid.*\) (?:is killed|exited unexpectedly)[^\n]*?(?=[. ]*(?:\n|$))",
        "a process that reads data has ended: {0}. The usual reason is that memory ran out (of the"
        " machine, or shared memory: df -h /dev/shm). Reduce train_dataloader's num_workers or"
        " batch_size.",
    ),
    _disk_error,
    _when(
        Exception,
        r"(?s:.*)failed to load image: ([^`{}\n]+)",
        "{1} cannot be read: it is truncated, or not an image. Replace the file, or remove it from"
        " the annotations.",
    ),
)
"""Rules for what comes from outside the code, which hold for the causes of an error as well."""

RULES: tuple[Rule, ...] = (
    _when(FileNotFoundError, ABSENT, ABSENT_MESSAGE),
    _when(Exception, rf"(?s)(?=.*`FileNotFoundError`).*{ABSENT}", ABSENT_MESSAGE),
    _unused_parameters,
    _too_few_tokens,
    _when(
        RuntimeError,
        r"expected input.* channels, but got \d+ channels|mat1 and mat2 shapes .*\)",
        "the parts of the model do not match each other: {0}. Compare in_channels of the neck and"
        " the heads with embed_dims and out_indices of the backbone.",
    ),
    _refused_input,
    _config_error,
    _silent_assertion,
)
"""Rules for data and configs, which hold outside a user's own code only."""
