"""Class centres, the class of a colour, priors and rebalancing weights."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import cube_slice, lab_of
from scipy.spatial import cKDTree

from evalkit.color.ab_classes import (
    PRESETS,
    AbClasses,
    Prior,
    load_classes,
    load_prior,
    preset,
    rebalancing_weights,
)
from evalkit.errors import InputError
from evalkit.metrics.ab_counts import AbErrorOptions, PairCounter
from evalkit.metrics.ab_error import ab_auc_rebal
from evalkit.metrics.photo import Photo


def save(path: Path, values: object) -> Path:
    np.save(path, np.asarray(values))
    return path


def shares_of(classes: AbClasses) -> np.ndarray:
    """A plausible prior: largest at the neutral class, falling with chroma."""
    shares = np.exp(-np.hypot(*(classes.centers - classes.centers[classes.neutral]).T) / 15)
    return shares / shares.sum()


class TestPresets:
    def test_zhang2016_is_the_published_file_in_its_order(self, shared_data: Path) -> None:
        published = np.load(shared_data / "quant" / "pts_in_hull.npy")
        np.testing.assert_array_equal(preset("zhang2016").centers, published)

    def test_seed2024_follows_from_the_gamut_by_its_rule(self) -> None:
        # Colours of one ab lie on a curve along which X, Y and Z all grow, so it leaves the cube: the six faces alone
        # have every ab of the gamut. Points inside are chosen in any case; those near the cut-off decide.
        u, v = np.divmod(np.arange(65536), 256)
        faces = [np.insert(np.column_stack([u, v]), channel, end, axis=1) for channel in range(3) for end in (0, 255)]
        gamut = lab_of(np.concatenate(faces))[:, 1:]
        lattice = np.array(list(product(range(-144, 145, 12), repeat=2)), dtype=float)
        distance, _ = cKDTree(gamut).query(lattice)
        order = np.argsort(distance)
        cut_off = distance[order[255]]
        assert distance[order[256]] - cut_off > 0.05  # samples 1 apart: an error of 1 / (8 * 21)
        assert cut_off > 12  # so all points inside the gamut are in
        chosen = lattice[np.sort(order[:256])]
        np.testing.assert_array_equal(preset("seed2024").centers, chosen)

    @pytest.mark.parametrize(
        ("name", "q", "grid", "parameters"),
        [("zhang2016", 313, 10, (5, 5, 0.5, 0.38)), ("seed2024", 256, 12, (6, 6, 0.25, 0.45))],
    )
    def test_parameters(self, name: str, q: int, grid: int, parameters: tuple[float, ...]) -> None:
        classes = preset(name)
        assert len(classes) == q
        assert np.all(classes.centers % grid == 0)
        assert len(np.unique(classes.centers, axis=0)) == q
        assert (classes.sigma, classes.smoothing_sigma, classes.rebalancing, classes.temperature) == parameters
        assert classes.centers[classes.neutral].tolist() == [0, 0]

    def test_an_unknown_preset_is_refused_with_the_names(self) -> None:
        with pytest.raises(InputError, match=r"unknown ab classes 'zhang'; allowed: zhang2016, seed2024, or a \.npy"):
            load_classes("zhang")


class TestClassOfAColour:
    @pytest.mark.parametrize("name", [*PRESETS, "file"])
    def test_the_fast_path_is_the_nearest_centre_over_the_cube(self, name: str, tmp_path: Path) -> None:
        if name == "file":
            centers = np.random.default_rng(1).uniform(-110, 110, (97, 2))
            classes = load_classes(str(save(tmp_path / "centers.npy", centers)))
        else:
            classes = preset(name)
        counter, tree = PairCounter(classes), cKDTree(classes.centers)
        close = 0
        for red in range(0, 256, 5):
            colours = cube_slice(red)
            fast = counter.classes_of(Photo(colours[None]))
            distance, nearest = tree.query(lab_of(colours)[:, 1:], k=2)
            differs = fast != nearest[:, 0]
            # The float64 decision is exact; only a tie to the last digit may go to the other of two centres.
            np.testing.assert_array_less(np.diff(distance[differs], axis=1), 1e-9)
            close += np.count_nonzero(distance[:, 1] - distance[:, 0] < 0.01)
        assert close > 1000  # the cube puts the boundary cases to the test

    @pytest.mark.parametrize("name", PRESETS)
    def test_the_reference_path_is_the_nearest_centre(self, name: str) -> None:
        classes = preset(name)
        ab = np.random.default_rng(0).uniform(-128, 128, (70, 100, 2))
        np.testing.assert_array_equal(classes.nearest(ab), cKDTree(classes.centers).query(ab)[1])

    def test_a_tie_goes_to_the_lower_index(self) -> None:
        classes = AbClasses(name="test", centers=np.array([[10.0, 0.0], [-10.0, 0.0]]))
        assert classes.nearest([0.0, 5.0]) == 0

    def test_every_centre_is_its_own_class(self) -> None:
        classes = preset("seed2024")
        np.testing.assert_array_equal(classes.nearest(classes.centers), np.arange(256))

    def test_two_classes_and_thousands(self) -> None:
        """Few classes leave cells without a boundary, many make several candidates per cell."""
        colours = cube_slice(90)
        for q in (2, 4000):
            classes = AbClasses(name="test", centers=np.random.default_rng(q).uniform(-100, 100, (q, 2)))
            fast = PairCounter(classes).classes_of(Photo(colours[None]))
            np.testing.assert_array_equal(fast, cKDTree(classes.centers).query(lab_of(colours)[:, 1:])[1])


class TestClassesFromAFile:
    def test_a_copy_of_a_preset_is_recognised(self, tmp_path: Path) -> None:
        path = save(tmp_path / "c.npy", preset("zhang2016").centers.astype(np.int64))
        assert load_classes(str(path)) is preset("zhang2016")

    def test_other_centres_are_named_by_their_digest(self, tmp_path: Path) -> None:
        one = load_classes(str(save(tmp_path / "a.npy", [[0, 0], [10, 0]])))
        other = load_classes(str(save(tmp_path / "b.npy", [[10, 0], [0, 0]])))
        assert one.name == f"file@{one.digest}"
        assert len(one.digest) == 8
        assert one.digest != other.digest  # the order is part of what classes are

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (np.zeros((3, 3)), r"have shape \(3, 3\); allowed: \(Q, 2\)"),
            (np.zeros(4), r"have shape \(4,\)"),
            ([[0, 0]], r"have shape \(1, 2\); allowed: \(Q, 2\) with 2 to 4096"),
            ([[0, 0], [np.nan, 0]], "must be finite"),
            ([[0, 0], [129, 0]], "at most 128"),
            ([[0, 0], [5, 5], [0, 0]], "must be distinct"),
            (np.array([["a", "b"]]), r"not a readable \.npy file of numbers"),
        ],
    )
    def test_what_is_no_list_of_centres_is_refused(self, tmp_path: Path, values: object, message: str) -> None:
        path = save(tmp_path / "centers.npy", values)
        with pytest.raises(InputError, match=f"centers.npy.*{message}"):
            load_classes(str(path))

    def test_a_file_that_is_not_npy_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "centers.npy"
        path.write_bytes(b"a,b\n0,0\n")
        with pytest.raises(InputError, match=r"not a readable \.npy file"):
            load_classes(str(path))


class TestPrior:
    def test_the_published_prior_is_recognised(self, shared_data: Path) -> None:
        prior = load_prior(shared_data / "quant" / "prior_probs.npy", preset("zhang2016"))
        assert prior.name == "zhang2016@19d00659"
        assert prior.warnings == ()
        assert prior.shares.argmax() == preset("zhang2016").neutral
        assert prior.shares.max() == pytest.approx(0.201, abs=5e-4)
        assert prior.shares.min() == pytest.approx(6.1e-9, rel=0.01)
        assert prior.shares.sum() == pytest.approx(1, abs=1e-12)

    def test_the_widely_copied_wrong_prior_is_refused(self, shared_data: Path) -> None:
        with pytest.raises(InputError, match=r"\(sha256 11b17627\) is not in the order of the class centres"):
            load_prior(shared_data / "quant" / "prior_probs_WRONG_ORDER.npy", preset("zhang2016"))

    def test_the_published_prior_does_not_fit_other_classes(self, shared_data: Path) -> None:
        with pytest.raises(InputError, match="holds 313 class shares; seed2024 has 256 classes"):
            load_prior(shared_data / "quant" / "prior_probs.npy", preset("seed2024"))

    def test_a_prior_whose_largest_class_is_not_neutral_warns(self, tmp_path: Path) -> None:
        prior = load_prior(save(tmp_path / "p.npy", np.arange(1, 314)), preset("zhang2016"))
        (warning,) = prior.warnings
        assert warning.startswith("the largest class of prior p.npy is (100, 0), not the neutral one")
        assert prior.name.startswith("file@")
        assert len(prior.name) == len("file@") + 8

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda p: p[:-1], "holds 312 class shares; zhang2016 has 313 classes"),
            (lambda p: p[None], "holds 313 class shares; zhang2016 has 313 classes"),
            (lambda p: np.where(np.arange(313) == 7, np.nan, p), "must be finite, non-negative and not all zero"),
            (lambda p: np.where(np.arange(313) == 7, np.inf, p), "must be finite, non-negative and not all zero"),
            (lambda p: np.where(np.arange(313) == 7, -1e-9, p), "must be finite, non-negative and not all zero"),
            (lambda p: 0 * p, "must be finite, non-negative and not all zero"),
        ],
    )
    def test_what_is_no_prior_is_refused(self, tmp_path: Path, change: object, message: str) -> None:
        path = save(tmp_path / "p.npy", change(shares_of(preset("zhang2016"))))  # type: ignore[operator]
        with pytest.raises(InputError, match=f"p.npy.*{message}"):
            load_prior(path, preset("zhang2016"))

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.npy: no such prior file; allowed: 'truth', or a file of 313"):
            load_prior(tmp_path / "none.npy", preset("zhang2016"))

    def test_counts_belong_to_the_classes_they_were_counted_for(self, tmp_path: Path) -> None:
        one, other = preset("zhang2016"), preset("seed2024")
        path = tmp_path / "prior.json"
        counts = np.rint(1e6 * shares_of(one)).astype(int)
        path.write_text(json.dumps({"counts": counts.tolist(), "classes_digest": one.digest}))
        np.testing.assert_allclose(load_prior(path, one).shares, counts / counts.sum(), rtol=1e-12)
        with pytest.raises(InputError, match=r"counted for other ab classes .* than seed2024"):
            load_prior(path, other)

    @pytest.mark.parametrize("text", ['{"counts": [1, 2]}', "{", '{"counts": ["x"], "classes_digest": "0"}'])
    def test_a_broken_count_file_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "prior.json"
        path.write_text(text)
        with pytest.raises(InputError, match="not a prior file of 'evalkit prior'"):
            load_prior(path, preset("zhang2016"))


positive_shares = arrays(np.float64, st.integers(2, 40), elements=st.floats(1e-6, 1e6))


class TestWeights:
    @given(positive_shares, st.floats(0, 1))
    def test_they_average_to_one_under_the_prior(self, shares: np.ndarray, rebalancing: float) -> None:
        weights = rebalancing_weights(shares, rebalancing)
        p = shares / shares.sum()
        assert (p * weights).sum() == pytest.approx(1, rel=1e-12)

    @given(positive_shares, st.floats(0, 1), st.floats(1e-6, 1e6))
    def test_any_scale_of_the_shares_gives_the_same(
        self, shares: np.ndarray, rebalancing: float, factor: float
    ) -> None:
        np.testing.assert_allclose(
            rebalancing_weights(factor * shares, rebalancing), rebalancing_weights(shares, rebalancing), rtol=1e-9
        )

    @given(positive_shares, st.floats(0, 1))
    def test_they_are_equation_4_up_to_a_factor(self, shares: np.ndarray, rebalancing: float) -> None:
        p = shares / shares.sum()
        plain = 1 / ((1 - rebalancing) * p + rebalancing / len(p))
        np.testing.assert_allclose(
            rebalancing_weights(shares, rebalancing) * plain[0],
            plain * rebalancing_weights(shares, rebalancing)[0],
            rtol=1e-9,
        )

    def test_known_values(self) -> None:
        np.testing.assert_allclose(rebalancing_weights([3, 1]), [2 / 3, 2])
        np.testing.assert_allclose(rebalancing_weights([3, 1], 1.0), [1, 1])
        np.testing.assert_allclose(rebalancing_weights([3, 1], 0.5), np.array([1 / 0.625, 1 / 0.375]) / (1.2 + 2 / 3))

    def test_a_class_without_pixels_weighs_nothing(self) -> None:
        assert rebalancing_weights([1, 0, 1]).tolist() == [1, 0, 1]

    def test_rows_are_weighted_apart(self) -> None:
        rows = np.array([[3.0, 1.0], [1.0, 1.0]])
        np.testing.assert_array_equal(
            rebalancing_weights(rows), [rebalancing_weights(rows[0]), rebalancing_weights(rows[1])]
        )


def test_any_normalisation_of_a_prior_gives_the_same_rebalanced_auc(tmp_path: Path, photos: dict) -> None:
    truth, classes = photos["chelsea"], preset("zhang2016")
    shares = shares_of(classes)
    scores = {
        ab_auc_rebal(truth, truth[..., ::-1].copy(), AbErrorOptions(prior=prior))
        for prior in (
            load_prior(save(tmp_path / "sum1.npy", shares), classes),
            load_prior(save(tmp_path / "sum1024.npy", shares * 1024), classes),
            Prior("as it is", shares * 0.25),
        )
    }
    assert max(scores) - min(scores) < 1e-14
