"""The public names and where they live: read by type checkers, and by the package itself, which loads them lazily."""

from .errors import InputError as InputError
from .metrics._arrays import to_rgb8 as to_rgb8
from .metrics.ab_counts import AbErrorOptions as AbErrorOptions
from .metrics.ab_error import ab_auc as ab_auc
from .metrics.ab_error import ab_auc_rebal as ab_auc_rebal
from .metrics.classification import classify as classify
from .metrics.color_difference import ciede2000 as ciede2000
from .metrics.colorfulness import colorfulness as colorfulness
from .metrics.colorfulness import colorfulness_abs as colorfulness_abs
from .metrics.colorfulness import colorfulness_diff as colorfulness_diff
from .metrics.fid_kid import fid as fid
from .metrics.fid_kid import kid as kid
from .metrics.fidelity import ab_rmse as ab_rmse
from .metrics.fidelity import l_mae as l_mae
from .metrics.fidelity import psnr_ab as psnr_ab
from .metrics.fidelity import psnr_rgb as psnr_rgb
from .metrics.perceptual import lpips as lpips
from .metrics.ssim import ms_ssim_ab as ms_ssim_ab
from .metrics.ssim import ssim_rgb as ssim_rgb
from .networks.options import NetworkOptions as NetworkOptions
from .scoring.accumulator import Accumulator as Accumulator
from .scoring.accumulator import AccumulatorCollection as AccumulatorCollection
from .scoring.run import score as score
from .scoring.score_comparison import Difference as Difference
from .scoring.score_comparison import Differences as Differences
from .scoring.score_comparison import compare_methods as compare_methods
from .scoring.score_comparison import compare_runs as compare_runs
from .scoring.scores import Scores as Scores

__version__: str
