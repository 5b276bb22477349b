"""The data sets that are known: their terms, what the user needs of each, and how to prepare it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from types import MappingProxyType

from rgbd3d.strict_yaml import did_you_mean


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
        name: As in `data.source` of a card and in `rgbd3d data prepare NAME`.
        title: As its authors write it.
        content: What it holds.
        terms: Under which terms.
        needs: What the user has to have, and where to ask for it.
        reader: MODULE:CLASS below `rgbd3d.data.readers`, or None where there is nothing to prepare.
    """

    name: str
    title: str
    content: str
    terms: str
    needs: str
    reader: str | None

    @property
    def command(self) -> str:
        """What to type."""
        if self.reader is None:
            return f"rgbd3d data render --scenes 100 --out {self.name}"
        return f"rgbd3d data prepare {self.name} --raw RAW --out OUT"


def find(name: str) -> DataSet:
    """A data set by name.

    Raises:
        ValueError: Unknown; names the nearest ones.
    """
    if name not in CATALOG:
        raise ValueError(f"no data set {name!r}; `rgbd3d data list` shows all{did_you_mean(name, CATALOG, 3)}")
    return CATALOG[name]


def text_table() -> str:
    """The catalogue for a terminal."""
    blocks = []
    for data_set in CATALOG.values():
        lines = {
            "content": data_set.content,
            "terms": data_set.terms,
            "needs": data_set.needs,
            "command": data_set.command,
        }
        body = [
            fill(text, 118, initial_indent=f"  {key:<8} ", subsequent_indent=" " * 11) for key, text in lines.items()
        ]
        blocks.append("\n".join([f"{data_set.name} ({data_set.title})", *body]))
    blocks.append("The terms are a summary in our words; what counts is the text of each source.")
    return "\n\n".join(blocks)


_DATA_SETS = (
    DataSet(
        name="synthrooms",
        title="synthrooms",
        content="Procedural indoor rooms: RGB, depth, 40 NYU classes, instances, intrinsics, poses.",
        terms="Apache-2.0, like the package that renders it; no downloaded asset is in it.",
        needs="Nothing.",
        reader=None,
    ),
    DataSet(
        name="frames",
        title="Your own frames",
        content="Folders of colour and depth images, with poses, intrinsics and labels where there are some.",
        terms="Yours, or those of whoever recorded the frames.",
        needs="A folder in one of the layouts of docs/data.md (plain, ScanNet export, 7-Scenes, TUM).",
        reader="frames:FrameFolderReader",
    ),
    DataSet(
        name="scannet",
        title="ScanNet v2",
        content="2.5 M RGB-D frames of 1513 scanned rooms, with poses, 40 or 20 classes, instances.",
        terms="ScanNet Terms of Use: non-commercial research and education, on signed agreement; no redistribution.",
        needs=(
            "Of http://www.scan-net.org: scans/SCENE/SCENE.sens and the zipped 2-D labels, or scannet_frames_25k; "
            "scannetv2-labels.combined.tsv; scannetv2_train.txt and scannetv2_val.txt."
        ),
        reader="scannet:ScanNetReader",
    ),
    DataSet(
        name="scannet-scenes",
        title="ScanNet v2, scenes",
        content="Vertices of 1513 scanned rooms with colour, normals, 40, 20 or 200 classes, instances.",
        terms="ScanNet Terms of Use: non-commercial research and education, on signed agreement; no redistribution.",
        needs=(
            "Of http://www.scan-net.org: SCENE_vh_clean_2.ply, .segs.json, .aggregation.json (or .labels.ply); "
            "scannetv2-labels.combined.tsv; scannetv2_train.txt and scannetv2_val.txt."
        ),
        reader="scannet_scenes:ScanNetScenesReader",
    ),
    DataSet(
        name="nyuv2",
        title="NYU Depth V2, labelled set",
        content="1449 labelled RGB-D frames of 464 rooms (795 train, 654 test), 40 or 13 classes, instances.",
        terms="No licence is stated by its authors; the frames remain theirs. No redistribution.",
        needs="nyu_depth_v2_labeled.mat and splits.mat, of its authors (N. Silberman, NYU).",
        reader="nyuv2:NyuV2Reader",
    ),
    DataSet(
        name="nyuv2-raw",
        title="NYU Depth V2, raw videos",
        content="407 k RGB-D frames of 464 rooms, depth projected into the colour camera.",
        terms="No licence is stated by its authors; the frames remain theirs. No redistribution.",
        needs=(
            "The unpacked raw scenes (SCENE/r-*.ppm, d-*.pgm), of its authors. Put nyu_depth_v2_labeled.mat and "
            "splits.mat beside them: only then are the rooms of the test frames kept out of train."
        ),
        reader="nyuv2_raw:NyuV2RawReader",
    ),
    DataSet(
        name="sunrgbd",
        title="SUN RGB-D",
        content="10 335 RGB-D frames of four sensors, raw and filled depth, 37 classes, official split.",
        terms="None are stated; it contains NYUv2, B3DO and SUN3D, whose terms apply too. No redistribution by us.",
        needs="SUNRGBD.zip and SUNRGBDtoolbox.zip, unpacked side by side, of https://rgbd.cs.princeton.edu.",
        reader="sunrgbd:SunRgbdReader",
    ),
    DataSet(
        name="arkitscenes",
        title="ARKitScenes, low-resolution frames",
        content="5047 videos of rooms recorded with tablets: 256 x 192 colour and LiDAR depth, with poses.",
        terms="CC BY-NC-SA 4.0 (its README); commercial use on request to Apple.",
        needs=(
            "{Training,Validation}/VIDEO of apple/ARKitScenes' download_data.py with lowres_wide, lowres_depth, "
            "lowres_wide_intrinsics and lowres_wide.traj."
        ),
        reader="arkitscenes:ARKitScenesReader",
    ),
    DataSet(
        name="arkitscenes-scenes",
        title="ARKitScenes, scene meshes",
        content="Vertices of the reconstructed rooms with colour and normals.",
        terms="CC BY-NC-SA 4.0 (its README); commercial use on request to Apple.",
        needs="{Training,Validation}/VIDEO of apple/ARKitScenes' download_data.py with the asset mesh.",
        reader="arkitscenes_scenes:ARKitScenesScenesReader",
    ),
    DataSet(
        name="7scenes",
        title="7-Scenes",
        content="43 000 posed RGB-D frames of seven rooms; depth is registered to the colour camera here.",
        terms="Microsoft Research licence: non-commercial use; no redistribution.",
        needs="The unpacked scenes (SCENE/seq-NN, TrainSplit.txt, TestSplit.txt), of Microsoft Research.",
        reader="seven_scenes:SevenScenesReader",
    ),
    DataSet(
        name="tum",
        title="TUM RGB-D",
        content="39 posed RGB-D sequences for SLAM.",
        terms="CC BY 4.0.",
        needs="The unpacked sequences (rgb.txt, depth.txt, groundtruth.txt), of TU Munich.",
        reader="tum:TumReader",
    ),
    DataSet(
        name="sun3d",
        title="SUN3D / 3DMatch",
        content="Posed RGB-D videos of rooms, as SUN3D or 3DMatch publish them.",
        terms="As their authors state for each data set; no redistribution by us.",
        needs="The unpacked scenes (camera-intrinsics.txt, seq-NN/frame-*), of Princeton.",
        reader="sun3d:Sun3dReader",
    ),
    DataSet(
        name="ibims1",
        title="iBims-1",
        content="100 indoor frames with laser-scanned depth, edges and planes: for evaluation only.",
        terms="As its authors (TU Munich) state; no redistribution by us.",
        needs="ibims1_core_mat with imagelist.txt, of TU Munich.",
        reader="ibims:IbimsReader",
    ),
    DataSet(
        name="cityscapes",
        title="Cityscapes",
        content="5000 street scenes with 19 classes and instances; depth where disparity is present.",
        terms="Its terms of use: non-commercial, on registration; no redistribution.",
        needs="leftImg8bit, gtFine for labels, disparity and camera for depth, of https://www.cityscapes-dataset.com.",
        reader="cityscapes:CityscapesReader",
    ),
    DataSet(
        name="ade20k",
        title="ADE20K",
        content="22 210 scenes with 150 classes, and instances where they are given.",
        terms="Non-commercial research and education; the images belong to their owners.",
        needs="ADEChallengeData2016 (or the full release ADE20K_2021_17_01) as unpacked, of MIT CSAIL.",
        reader="ade20k:ADE20KReader",
    ),
    DataSet(
        name="imagenet-1k",
        title="ImageNet-1k",
        content="1.28 M photographs of 1000 classes.",
        terms="Non-commercial research and education; the images belong to their owners.",
        needs="ILSVRC/ with LOC_val_solution.csv, or train/WNID and val/WNID, of https://image-net.org.",
        reader="imagenet:ImageNetReader",
    ),
    DataSet(
        name="lsun",
        title="LSUN",
        content="Millions of photographs of scene and object categories.",
        terms="None are stated by its authors; the images belong to their owners. No redistribution by us.",
        needs="Folders exported with `data.py export` of github.com/fyu/lsun; the LMDB databases are not read.",
        reader="lsun:LSUNReader",
    ),
    DataSet(
        name="images",
        title="Your own photographs",
        content="A tree of JPEG and PNG files; the folder names are the classes.",
        terms="Yours, or those of whoever took the photographs.",
        needs="A folder.",
        reader="image_folder:ImageFolderReader",
    ),
    DataSet(
        name="webdataset",
        title="Your own WebDataset",
        content="Tar files of pictures and classes.",
        terms="Yours, or those of whoever took the photographs.",
        needs="A folder of .tar files.",
        reader="webdataset:WebDatasetReader",
    ),
    DataSet(
        name="hub-images",
        title="Pictures on the Hub",
        content="Any data set of the Hub with a column of pictures.",
        terms="Those of the data set; read its card.",
        needs="--raw hf://datasets/OWNER/NAME@COMMIT",
        reader="hub_images:HubImagesReader",
    ),
    DataSet(
        name="ucf101",
        title="UCF-101",
        content="13 320 videos of 101 actions, split 1.",
        terms="No licence is stated by its authors; the videos come from YouTube. No redistribution.",
        needs="UCF-101 and ucfTrainTestlist, of the University of Central Florida.",
        reader="ucf101:UCF101Reader",
    ),
    DataSet(
        name="kinetics",
        title="Kinetics, and videos in its layout",
        content="Videos of one action each, by class folders or by lists.",
        terms="Annotations CC BY 4.0; the videos stay with their owners on YouTube. No redistribution.",
        needs="train/CLASS/*.mp4 or train.csv with `path label` lines.",
        reader="kinetics:KineticsReader",
    ),
    DataSet(
        name="or-ar",
        title="Operating-room videos in the layout of OR-AR",
        content="Surgical videos with nine phases and optional depth.",
        terms="Yours: the data set of the paper is not public.",
        needs="videos/, phases/, optional depth/, and train.txt, val.txt, test.txt; see the reader's documentation.",
        reader="or_ar:ORARReader",
    ),
)

CATALOG: Mapping[str, DataSet] = MappingProxyType({data_set.name: data_set for data_set in _DATA_SETS})
"""Data sets by name."""
