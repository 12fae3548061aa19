"""Colours learnt from an example by support vector machines on local features, made coherent by a graph cut.

k-means gives the example's colours; a classifier for each of them against the others is trained on features of the
example's gray pixels; each pixel of the photo gets the labelling that its margins and its neighbours favour.

The report's own text was not at hand where this was written, so its equations are named by what they say, not by
number; features, kernel, window, number of colours and the costs of the graph cut are those of the authors' published
program. Where it differs: descriptors are upright SURF as published, written here (the usual library calls it
non-free); windows are mirrored at the photo's edge, where the program sets their spectrum to zero; the cut is found by
expansion moves, not by swaps (the distance of colours is a metric, so both apply); the weight of an edge is bounded,
where the program divides by a gradient that may be zero.

References
----------
.. [1] A. Sousa, R. Kabirzadeh, P. Blaes, "Automatic Colorization of Grayscale Images", Stanford University, project
   report of CS229, cited in surveys as Sousa et al. (2012).
.. [2] H. Bay, T. Tuytelaars, L. Van Gool, "SURF: Speeded Up Robust Features", ECCV 2006, section 4.
.. [3] G. Charpiat, M. Hofmann, B. Schoelkopf, "Automatic Image Colorization via Multimodal Predictions", ECCV 2008,
   section 4: the energy of the graph cut that [1] takes over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray, IntArray


__all__ = ["ExampleModel", "edge_weights", "learn_example", "local_features", "surf_descriptors"]

N_COLOURS = 16
"""Colours of k-means [1]."""
N_COMPONENTS = 30
"""Principal components of the features that the classifiers see [1]."""
WINDOW = 10
"""Pixels on each side of a pixel of which mean, variance and spectrum are taken [1]."""
OCTAVES = (0.0, 1.0, 2.0)
"""Standard deviations of the blur before the three descriptors, pixels [1]."""
SURF_STEP = 2
"""s of [2]: the descriptor sees 20 s pixels; the program's key points of size 20 make it 2.7."""
GAMMA, PENALTY = 0.1, 1.0
"""Of the Gaussian kernel exp(-gamma |x - y|^2), features in 0..1, and C of the machines [1]."""
N_TRAINING = 2000
"""About how many pixels of the example, on an even lattice, the classifiers learn from; the program's spacings give
2,700 to 5,000, in several times the time."""
SITE = 3
"""Margins are computed for one pixel of so many in each direction, as the program does by choice."""
SMOOTHNESS = 0.01
"""Cost of two neighbours of unlike colour, for each unit of ab between them, relative to a margin of 1; the program's
ratio between its two costs."""
EDGE_BLUR = 3.0
"""Standard deviation of the blur before the Sobel filter, pixels [1]."""
LEAST_GRADIENT = 0.05
"""Share of the steepest gradient below which neighbours are held together fully."""
MAX_PIXELS = 1 << 18
"""Larger photos are labelled at a reduced size; their colours are brought to the photo's size."""


def surf_descriptors(lightness: FloatArray, places: IntArray) -> FloatArray:
    """Upright SURF descriptors of 128 numbers, [2] section 4, at any pixels.

    20 x 20 Haar responses dx, dy at steps of s, weighted by a Gaussian of 3.3 s, are summed over 4 x 4 squares: dx
    and abs dx apart for dy below and from 0, dy and abs dy apart for dx below and from 0.

    Parameters
    ----------
    lightness : ndarray of float64, shape (H, W)
    places : ndarray of int64, shape (n, 2)
        Rows and columns.

    Returns
    -------
    ndarray of float64, shape (n, 128)
        Of length 1 each, or 0 where the photo is flat.
    """
    import numpy as np

    step = SURF_STEP
    margin = 11 * step
    padded = np.pad(lightness, margin, mode="symmetric")
    sums = np.pad(padded.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))

    def box(top: IntArray, left: IntArray, height: int, width: int) -> FloatArray:
        total: FloatArray = sums[top + height, left + width] - sums[top, left + width]
        total = total - sums[top + height, left] + sums[top, left]
        return total

    # Centres of the 20 samples lie s/2 off the pixel, so that the window is centred on it.
    offsets = np.arange(-10, 10) * step + step // 2
    rows = places[:, 0, None, None] + margin + offsets[:, None]
    columns = places[:, 1, None, None] + margin + offsets[None, :]
    top, left = rows - step, columns - step
    dx = box(top, left + step, 2 * step, step) - box(top, left, 2 * step, step)
    dy = box(top + step, left, step, 2 * step) - box(top, left, step, 2 * step)
    weight = np.exp(-((offsets / step) ** 2) / (2 * 3.3**2))
    weight = weight[:, None] * weight[None, :]
    dx, dy = dx * weight, dy * weight
    parts = []
    for response, sign in ((dx, dy), (dy, dx)):
        # Mirrored edges give responses of 0 but for rounding, which must not choose the half.
        for chosen in (sign < -1e-6, sign >= -1e-6):
            kept = np.where(chosen, response, 0.0)
            parts += [kept, np.abs(kept)]
    squares = np.stack(parts, axis=-1).reshape(len(places), 4, 5, 4, 5, 8).sum(axis=(2, 4))
    flat: FloatArray = squares.reshape(len(places), 128)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    # Sums of 2 s x 2 s pixels, 0..100: what is below is rounding.
    described: FloatArray = np.where(length > 1e-6, flat / np.maximum(length, 1e-6), 0.0)
    return described


def local_features(lightness: FloatArray, places: IntArray) -> FloatArray:
    """Features of gray pixels [1]: mean, variance and spectrum of the window about them, three SURF descriptors.

    Parameters
    ----------
    lightness : ndarray of float64, shape (H, W)
        L, 0..100.
    places : ndarray of int64, shape (n, 2)
        Rows and columns.

    Returns
    -------
    ndarray of float64, shape (n, 617)
    """
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view
    from scipy.ndimage import gaussian_filter

    side = 2 * WINDOW + 1
    windows = sliding_window_view(np.pad(lightness / 100.0, WINDOW, mode="symmetric"), (side, side))
    chosen = windows[places[:, 0], places[:, 1]]
    spectrum = np.abs(np.fft.rfft2(chosen)).reshape(len(places), -1)
    descriptors = [
        surf_descriptors(gaussian_filter(lightness, sigma) if sigma else lightness, places) for sigma in OCTAVES
    ]
    mean, variance = chosen.mean(axis=(1, 2)), chosen.var(axis=(1, 2))
    return np.concatenate([mean[:, None], variance[:, None], spectrum, *descriptors], axis=1)


def edge_weights(lightness: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How firmly neighbours hold together: 1 where the photo is even, less across an edge, by the Sobel filter [1].

    ``w_pq = g0 / max(g_pq, g0)``: the inverse of the gradient between the two, as in [3], bounded at
    g0 = ``LEAST_GRADIENT`` of the steepest.

    Parameters
    ----------
    lightness : ndarray of float64, shape (H, W)

    Returns
    -------
    right, below : ndarray of float64, shapes (H, W - 1) and (H - 1, W)
        In (0, 1].
    """
    import numpy as np
    from scipy.ndimage import gaussian_filter, sobel

    blurred = gaussian_filter(lightness, EDGE_BLUR)
    weights = []
    for axis in (1, 0):
        gradient = np.abs(sobel(blurred, axis=axis))
        least = LEAST_GRADIENT * max(float(gradient.max()), 1e-9)
        between = (gradient[:, :-1] + gradient[:, 1:]) / 2 if axis else (gradient[:-1] + gradient[1:]) / 2
        weights.append(least / np.maximum(between, least))
    return weights[0], weights[1]


@dataclass(frozen=True, kw_only=True)
class ExampleModel:
    """What was learnt from one example (`learn_example`).

    Attributes
    ----------
    colours : ndarray of float64, shape (K, 2)
        ab of the colours that the training pixels have, CIE Lab units.
    """

    colours: FloatArray
    _least: FloatArray
    _extent: FloatArray
    _projection: Any
    _training: FloatArray
    _machines: tuple[Any, ...]

    def margins(self, lightness: FloatArray, places: IntArray) -> FloatArray:
        """Signed distance from the boundary of each colour's classifier, positive inside: shape (n, K)."""
        import numpy as np
        from sklearn.metrics.pairwise import rbf_kernel

        if not self._machines:
            return np.ones((len(places), 1))
        features = (local_features(lightness, places) - self._least) / self._extent
        kernel = rbf_kernel(self._projection.transform(features), self._training, gamma=GAMMA)
        return np.stack([machine.decision_function(kernel) for machine in self._machines], axis=1)

    def colorize(self, lightness: FloatArray) -> FloatArray:
        """Colours of the labelling that minimises ``sum_p -S_p(c_p) + lambda sum_pq w_pq |c_p - c_q|`` [1][3].

        S_p are the margins at pixel p, w the weights of `edge_weights`, lambda is ``SMOOTHNESS``.

        Parameters
        ----------
        lightness : ndarray of float64, shape (H, W)
            L of the photo, 0..100.

        Returns
        -------
        ndarray of float64, shape (H, W, 2)
            ab, CIE Lab units: colours of the example's k-means and no others, but for the resizing of photos of more
            than 2^18 pixels.
        """
        import numpy as np

        from evalkit.colorizers.classical.graph_cut import alpha_expansion
        from evalkit.colorizers.classical.reduction import at_reduced_size

        def labelled(small: FloatArray) -> FloatArray:
            height, width = small.shape
            rows, columns = np.arange(0, height, SITE), np.arange(0, width, SITE)
            sites = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
            parts = [self.margins(small, part) for part in np.array_split(sites, max(1, len(sites) // 2048))]
            costs = -np.concatenate(parts).reshape(rows.size, columns.size, -1)
            every = costs.repeat(SITE, axis=0).repeat(SITE, axis=1)[:height, :width]
            apart = np.linalg.norm(self.colours[:, None] - self.colours[None], axis=-1)
            labels = alpha_expansion(every, SMOOTHNESS * apart, *edge_weights(small))
            ab: FloatArray = self.colours[labels]
            return ab

        return at_reduced_size(labelled, lightness, MAX_PIXELS)


def learn_example(example: FloatArray, *, seed: int = 0) -> ExampleModel:
    """Colours of an example by k-means, and a support vector machine with a Gaussian kernel for each against the rest.

    Parameters
    ----------
    example : ndarray of float64, shape (H, W, 3)
        CIE Lab of the example.
    seed : int
        Of the first centres of k-means.

    Returns
    -------
    ExampleModel

    Raises
    ------
    InputError
        If scikit-learn is not installed.
    """
    import numpy as np

    from evalkit.needs import need_sklearn

    need_sklearn("colours learnt by support vector machines")
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.svm import SVC

    height, width = example.shape[:2]
    spacing = max(1, int(np.sqrt(height * width / N_TRAINING)))
    rows = np.arange(min(spacing // 2, height - 1), height, spacing)
    columns = np.arange(min(spacing // 2, width - 1), width, spacing)
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    ab = example[places[:, 0], places[:, 1], 1:]
    n_colours = min(N_COLOURS, len(np.unique(ab, axis=0)))
    means = KMeans(n_colours, n_init=1, random_state=abs(seed) % (1 << 32)).fit(ab)
    present, labels = np.unique(means.labels_, return_inverse=True)
    colours = means.cluster_centers_[present]
    empty = np.zeros((0, 0))
    if len(present) == 1:
        return ExampleModel(
            colours=colours, _least=empty, _extent=empty, _projection=None, _training=empty, _machines=()
        )
    features = local_features(example[..., 0], places)
    least, extent = features.min(axis=0), np.ptp(features, axis=0)
    extent = np.where(extent > 1e-12, extent, 1.0)
    scaled = (features - least) / extent
    projection = PCA(min(N_COMPONENTS, *scaled.shape), svd_solver="covariance_eigh").fit(scaled)
    training = projection.transform(scaled)
    kernel = rbf_kernel(training, gamma=GAMMA)
    machines = tuple(SVC(kernel="precomputed", C=PENALTY).fit(kernel, labels == label) for label in range(len(present)))
    return ExampleModel(
        colours=colours,
        _least=least,
        _extent=extent,
        _projection=projection,
        _training=training,
        _machines=machines,
    )
