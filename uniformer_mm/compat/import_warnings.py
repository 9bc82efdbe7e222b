"""Importing and running the stack prints warnings that users cannot act on.

Defect: mmengine imports `pkg_resources`, calls `pkgutil.find_loader` and warns of processes whose
    number of threads it sets; mmdet, mmaction2 and mmpretrain contain invalid escape sequences;
    mmcv warns about an import of its own, mmpose about the path of its own datasets' settings,
    mmseg about a call of its own, about a default of all its configs, and at each image under
    test-time augmentation.
Versions: mmengine <= 0.10.7 with setuptools 67.5 to 81 and with Python 3.12; mmdet 3.3.0,
    mmaction2 1.2.0 and mmpretrain 1.2.0, visibly with Python >= 3.12; mmcv 2.1.0; mmpose 1.3.2;
    mmseg 1.2.2.
Shows as: `UserWarning: pkg_resources is deprecated as an API`, `SyntaxWarning: invalid escape
    sequence` and others, some only with `-W default` or in pytest's summary.
Repair: ignore these messages where they come from these packages, and nothing else. torch's own
    warnings (`torch.jit.script` is deprecated, on import of `torch.distributed.optim`) stay: Python
    hides them by default, and the same message may concern the user's code.
Upstream: https://github.com/open-mmlab/mmengine/pull/1676,
    https://github.com/python/cpython/pull/98520
"""

import warnings

# Category, start of the message, module; both texts are regular expressions.
KNOWN_WARNINGS: tuple[tuple[type[Warning], str, str], ...] = (
    # From importlib where mmengine reloads the module, at each look for an installed package.
    (
        UserWarning,
        "pkg_resources is deprecated as an API",
        r"(mmengine\.utils\.package_utils|mim\.commands\.list|importlib)$",
    ),
    (
        DeprecationWarning,
        "'pkgutil.find_loader' is deprecated",
        r"(mmengine\.utils\.dl_utils\.misc|mmcv\.utils\.ext_loader)$",
    ),
    (
        ImportWarning,
        "``MultiScaleDeformableAttention`` has been moved",
        r"mmcv\.cnn\.bricks\.transformer$",
    ),
    (UserWarning, "``build_loss`` would be deprecated soon", r"mmseg\.models\.builder$"),
    (
        UserWarning,
        "Default ``avg_non_ignore`` is False",
        r"mmseg\.models\.losses\.cross_entropy_loss$",
    ),
    (
        UserWarning,
        "The shape of value will convert from",
        r"mmengine\.structures\.pixel_data$",
    ),
    (
        UserWarning,
        r'The metainfo config file "configs/_base_/datasets/\w+\.py" does not exist',
        r"mmpose\.datasets\.datasets\.utils$",
    ),
    # In each process of a distributed training.
    (
        UserWarning,
        "Setting (OMP|MKL)_NUM_THREADS environment variable for each process",
        r"mmengine\.utils\.dl_utils\.setup_env$",
    ),
    # The compiler knows only the path of the module. DeprecationWarning before Python 3.12.
    (SyntaxWarning, "invalid escape sequence", r".*[/\\](mmdet|mmaction|mmpretrain)[/\\]"),
    (DeprecationWarning, "invalid escape sequence", r".*[/\\](mmdet|mmaction|mmpretrain)[/\\]"),
)


def apply() -> None:
    """Ignore the known warnings."""
    for category, message, module in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message, category, module)
