"""BibTeX entries of what a report uses: the project, its metrics, its statistics."""

from __future__ import annotations

from analysis.report.content import ReportInput

__all__ = ["ENTRIES", "cited_for", "references_bib"]

ENTRIES = {
    "zhang2016colorful": (
        "inproceedings",
        "Zhang, Richard and Isola, Phillip and Efros, Alexei A.",
        "Colorful Image Colorization",
        {"booktitle": "European Conference on Computer Vision (ECCV)", "year": "2016"},
    ),
    "wang2004image": (
        "article",
        "Wang, Zhou and Bovik, Alan C. and Sheikh, Hamid R. and Simoncelli, Eero P.",
        "Image Quality Assessment: From Error Visibility to Structural Similarity",
        {"journal": "IEEE Transactions on Image Processing", "volume": "13", "number": "4", "pages": "600--612", "year": "2004"},
    ),
    "wang2003multiscale": (
        "inproceedings",
        "Wang, Zhou and Simoncelli, Eero P. and Bovik, Alan C.",
        "Multiscale Structural Similarity for Image Quality Assessment",
        {"booktitle": "Asilomar Conference on Signals, Systems and Computers", "year": "2003"},
    ),
    "sharma2005ciede2000": (
        "article",
        "Sharma, Gaurav and Wu, Wencheng and Dalal, Edul N.",
        "The {CIEDE2000} Color-Difference Formula: Implementation Notes, Supplementary Test Data, and Mathematical Observations",
        {"journal": "Color Research and Application", "volume": "30", "number": "1", "pages": "21--30", "year": "2005"},
    ),
    "hasler2003measuring": (
        "inproceedings",
        'Hasler, David and S{\\"u}sstrunk, Sabine',
        "Measuring Colourfulness in Natural Images",
        {"booktitle": "Human Vision and Electronic Imaging VIII, Proceedings of SPIE", "volume": "5007", "year": "2003"},
    ),
    "zhang2018unreasonable": (
        "inproceedings",
        "Zhang, Richard and Isola, Phillip and Efros, Alexei A. and Shechtman, Eli and Wang, Oliver",
        "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
        {"booktitle": "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", "year": "2018"},
    ),
    "heusel2017gans": (
        "inproceedings",
        "Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and Hochreiter, Sepp",
        "{GANs} Trained by a Two Time-Scale Update Rule Converge to a Local {Nash} Equilibrium",
        {"booktitle": "Advances in Neural Information Processing Systems", "year": "2017"},
    ),
    "binkowski2018demystifying": (
        "inproceedings",
        "Bi{\\'n}kowski, Miko{\\l}aj and Sutherland, Danica J. and Arbel, Michael and Gretton, Arthur",
        "Demystifying {MMD} {GANs}",
        {"booktitle": "International Conference on Learning Representations (ICLR)", "year": "2018"},
    ),
    "parmar2022aliased": (
        "inproceedings",
        "Parmar, Gaurav and Zhang, Richard and Zhu, Jun-Yan",
        "On Aliased Resizing and Surprising Subtleties in {GAN} Evaluation",
        {"booktitle": "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", "year": "2022"},
    ),
    "simonyan2015very": (
        "inproceedings",
        "Simonyan, Karen and Zisserman, Andrew",
        "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        {"booktitle": "International Conference on Learning Representations (ICLR)", "year": "2015"},
    ),
    "larsson2016learning": (
        "inproceedings",
        "Larsson, Gustav and Maire, Michael and Shakhnarovich, Gregory",
        "Learning Representations for Automatic Colorization",
        {"booktitle": "European Conference on Computer Vision (ECCV)", "year": "2016"},
    ),
    "deshpande2017learning": (
        "inproceedings",
        "Deshpande, Aditya and Lu, Jiajun and Yeh, Mao-Chuang and Chong, Min Jin and Forsyth, David",
        "Learning Diverse Image Colorization",
        {"booktitle": "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", "year": "2017"},
    ),
    "saharia2022palette": (
        "inproceedings",
        "Saharia, Chitwan and Chan, William and Chang, Huiwen and Lee, Chris and Ho, Jonathan and Salimans, Tim and Fleet, David "
        "and Norouzi, Mohammad",
        "Palette: Image-to-Image Diffusion Models",
        {"booktitle": "ACM SIGGRAPH Conference Proceedings", "year": "2022"},
    ),
    "liu2024temporally": (
        "article",
        "Liu, Yihao and Zhao, Hengyuan and Chan, Kelvin C. K. and Wang, Xintao and Loy, Chen Change and Qiao, Yu and Dong, Chao",
        "Temporally Consistent Video Colorization with Deep Feature Propagation and Self-Regularization Learning",
        {"journal": "Computational Visual Media", "volume": "10", "number": "2", "pages": "375--395", "year": "2024"},
    ),
    "wang2015patch": (
        "article",
        "Wang, Shiqi and Ma, Kede and Yeganeh, Hojatollah and Wang, Zhou and Lin, Weisi",
        "A Patch-Structure Representation Method for Quality Assessment of Contrast Changed Images",
        {"journal": "IEEE Signal Processing Letters", "volume": "22", "number": "12", "pages": "2387--2390", "year": "2015"},
    ),
    "panetta2016human": (
        "article",
        "Panetta, Karen and Gao, Chen and Agaian, Sos",
        "Human-Visual-System-Inspired Underwater Image Quality Measures",
        {"journal": "IEEE Journal of Oceanic Engineering", "volume": "41", "number": "3", "pages": "541--551", "year": "2016"},
    ),
    "bradley1952rank": (
        "article",
        "Bradley, Ralph Allan and Terry, Milton E.",
        "Rank Analysis of Incomplete Block Designs: I. The Method of Paired Comparisons",
        {"journal": "Biometrika", "volume": "39", "number": "3/4", "pages": "324--345", "year": "1952"},
    ),
    "luce1959individual": (
        "book",
        "Luce, R. Duncan",
        "Individual Choice Behavior: A Theoretical Analysis",
        {"publisher": "Wiley", "address": "New York", "year": "1959"},
    ),
    "holm1979simple": (
        "article",
        "Holm, Sture",
        "A Simple Sequentially Rejective Multiple Test Procedure",
        {"journal": "Scandinavian Journal of Statistics", "volume": "6", "number": "2", "pages": "65--70", "year": "1979"},
    ),
    "satterthwaite1946approximate": (
        "article",
        "Satterthwaite, Franklin E.",
        "An Approximate Distribution of Estimates of Variance Components",
        {"journal": "Biometrics Bulletin", "volume": "2", "number": "6", "pages": "110--114", "year": "1946"},
    ),
    "schuirmann1987comparison": (
        "article",
        "Schuirmann, Donald J.",
        "A Comparison of the Two One-Sided Tests Procedure and the Power Approach for Assessing the Equivalence of Average Bioavailability",
        {"journal": "Journal of Pharmacokinetics and Biopharmaceutics", "volume": "15", "number": "6", "pages": "657--680", "year": "1987"},
    ),
}  # fmt: skip
"""Kind, authors, title and further fields by key."""

_OF_METRICS = (
    ("ab_auc", ("zhang2016colorful",)),
    ("ab_rmse", ("larsson2016learning",)),
    ("ssim_", ("wang2004image",)),
    ("ms_ssim_", ("wang2003multiscale",)),
    ("ciede2000", ("sharma2005ciede2000",)),
    ("colorfulness", ("hasler2003measuring",)),
    ("lpips_", ("zhang2018unreasonable",)),
    ("diversity_lpips", ("zhang2018unreasonable",)),
    ("fid", ("heusel2017gans",)),
    ("fid_clean", ("heusel2017gans", "parmar2022aliased")),
    ("kid", ("binkowski2018demystifying",)),
    ("kid_clean", ("binkowski2018demystifying", "parmar2022aliased")),
    ("diversity_variance", ("deshpande2017learning",)),
    ("diversity_lpips_consecutive", ("saharia2022palette",)),
    ("cdc", ("liu2024temporally",)),
    ("pcqi", ("wang2015patch",)),
    ("uiqm", ("panetta2016human",)),
    ("vgg16_", ("simonyan2015very", "zhang2016colorful")),
)
"""Beginnings of the names of metrics, and what they are cited by."""


def cited_for(metric: str) -> tuple[str, ...]:
    """Keys of the entries that a metric is cited by, each once; none where it has no paper."""
    return tuple(dict.fromkeys(key for start, own in _OF_METRICS if metric.startswith(start) for key in own))


def references_bib(content: ReportInput) -> str:
    """BibTeX of the project and of whatever the report uses, each entry once."""
    metrics = content.scores.metrics if content.scores else ()
    keys = [key for metric in metrics for key in cited_for(metric)]
    if content.study is not None:
        keys += ["zhang2016colorful"] if content.headline and content.headline.trials.preset == "real-vs-fake" else []
        keys += ["satterthwaite1946approximate", "holm1979simple"]
        preferences = content.headline.preferences if content.headline is not None else None
        keys.append("schuirmann1987comparison" if preferences is None else "bradley1952rank")
        keys += ["luce1959individual"] if preferences is not None and preferences.choices else []
    elif content.differences:
        keys.append("holm1979simple")
    version = content.version.replace("_", r"\_")
    project = (
        "@misc{evalkit,\n  author = {{The evalkit developers}},\n"
        "  title = {evalkit: Human Evaluation and Metrics for Image Colorization},\n"
        f"  note = {{Version {version}}},\n}}\n"
    )
    return "\n".join([project, *(_entry(key) for key in dict.fromkeys(keys))])


def _entry(key: str) -> str:
    kind, author, title, further = ENTRIES[key]
    fields = {"author": author, "title": title, **further}
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}\n"
