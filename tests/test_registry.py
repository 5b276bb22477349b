"""Names lead to cards, cards to models; nothing is guessed and nothing stays random silently."""

from dataclasses import replace
from pathlib import Path

import conversion_modules
import pytest
import torch
from hub_folders import publish
from loopback_hub import LoopbackHub
from safetensors.torch import save_file

import rgbd3d
from rgbd3d import card_index, card_weights, cards, registry
from rgbd3d.backbones.vit import build_vit
from rgbd3d.cards import Card, CardError, Weights
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.folder import save_pretrained_folder, stored_weights
from rgbd3d.hub import HubError
from rgbd3d.methods import build_method
from rgbd3d.modeling import RgbdForPreTraining, RgbdModel
from rgbd3d.pins import pin
from rgbd3d.registry import ModelError, NoWeightsError, UnknownModelError
from rgbd3d.training.frames import open_frames

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "mask3d-vitt-synthrooms"


pytest_plugins = ["hub_fixtures"]
pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture(scope="module")
def recipe() -> Card:
    card = registry.get_card(NAME)
    small = {"image_size": (24, 36)}
    objective = replace(card.objective, depth_encoder_depth=1, decoder=replace(card.objective.decoder, depth=1))
    return replace(
        card,
        name="tiny",
        init=None,
        backbone=replace(card.backbone, **small),
        objective=objective,
        weights=Weights(status="recipe"),
    )


@pytest.fixture(scope="module")
def method(recipe: Card) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_method(recipe)


@pytest.fixture
def bundled(recipe: Card, method: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A card "tiny" whose weights lie where those of the package lie; returns their folder."""
    folder = tmp_path / "weights" / "tiny"
    folder.mkdir(parents=True)
    weights = stored_weights(method, half=True)
    save_file(stored_weights(method.backbone, half=True), folder / card_weights.BACKBONE_FILE)
    rest = {name: value for name, value in weights.items() if not name.startswith("backbone.")}
    save_file(rest, folder / card_weights.DECODER_FILE)
    files = {path.name: pin(path) for path in folder.iterdir()}
    card = replace(recipe, weights=Weights(status="bundled", files=files))
    (tmp_path / "tiny.yaml").write_text(cards.dump(card))
    monkeypatch.setattr(card_weights, "BUNDLED_WEIGHTS", tmp_path / "weights")
    card_index._known()["tiny"] = tmp_path / "tiny.yaml"
    return folder


@pytest.fixture
def saved(recipe: Card, method: torch.nn.Module, tmp_path: Path) -> Path:
    return save_pretrained_folder(method, recipe, tmp_path / "saved")


def halved(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.half().float() for name, value in module.state_dict().items() if "pos_embed" not in name}


# --------------------------------------------------------------------------------------------------------- listing


def test_patterns_and_filters():
    assert rgbd3d.list_models("mask3d-vit?-scannet") == ["mask3d-vitb-scannet", "mask3d-vitl-scannet"]
    large = ["mae-vitl-imagenet", "mae-vitl-scannet", "mask3d-vitl-scannet"]
    assert rgbd3d.list_models("vitl", task="pretraining") == large
    assert rgbd3d.list_models("vitl", method="mae", task="pretraining") == large[:2]
    assert rgbd3d.list_models(architecture="vit_large", source="scannet", task="pretraining") == large[1:]
    assert rgbd3d.list_models("nothing") == []


def test_pretrained_filter_splits_the_list(bundled: Path):
    trained, recipes = rgbd3d.list_models(pretrained=True), rgbd3d.list_models(pretrained=False)
    assert "tiny" in trained
    assert "mask3d-vitb-scannet" in recipes
    assert sorted(trained + recipes) == rgbd3d.list_models()


def test_a_misspelt_name_suggests_the_nearest():
    with pytest.raises(
        UnknownModelError, match="unknown model 'mask3d-vitb-scanet'; did you mean 'mask3d-vitb-scannet'"
    ):
        rgbd3d.get_card("mask3d-vitb-scanet")
    with pytest.raises(UnknownModelError, match="`rgbd3d list` shows all"):
        rgbd3d.get_card("zzz")


@pytest.mark.parametrize("name", [f"./{NAME}", f"/{NAME}", f"~/{NAME}", f"models/{NAME}", f"{NAME}/", f".\\{NAME}"])
def test_a_path_is_never_taken_for_a_card(name: str):
    for pretrained in (False, True):
        with pytest.raises(UnknownModelError, match="is a path or a Hub id, not the name of a card"):
            rgbd3d.create_model(name, pretrained=pretrained)


@pytest.mark.parametrize(
    "name", [f"./{NAME}", f"/nowhere/{NAME}", f"~/nowhere/{NAME}", f"{NAME}/", "a/b/c", Path(NAME)]
)
def test_a_missing_folder_is_never_taken_for_a_card(name: str | Path):
    with pytest.raises(UnknownModelError, match="there is no folder"):
        rgbd3d.from_pretrained(name)


def test_a_misspelt_folder_is_never_asked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UnknownModelError, match=r"there is no folder 'runs/final', though .*'runs'.* pass revision="):
        rgbd3d.from_pretrained("runs/final")
    with pytest.raises(HubError, match="runs/final"):
        rgbd3d.from_pretrained("runs/final", revision="0" * 40)


def test_a_plain_word_is_never_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UnknownModelError, match=r"to load the folder of that name write './mine'"):
        rgbd3d.from_pretrained("mine")


def test_model_info_names_terms_numbers_and_lineage():
    text = rgbd3d.model_info("mask3d-vitb-scannet")
    for part in ("mae-vitb-imagenet", "CC-BY-NC-4.0", "Table 12", "66.7", "nobody has trained it", "rgbd3d pretrain"):
        assert part in text


# ---------------------------------------------------------------------------------------------------------- models


def test_an_untrained_model_follows_torchs_seed():
    def weight(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return rgbd3d.create_model(NAME).backbone.patch_embed.proj.weight

    assert torch.equal(weight(0), weight(0))
    assert not torch.equal(weight(0), weight(1))


def test_an_untrained_model_cannot_be_published():
    for task in (None, "pretraining"):
        with pytest.raises(ValueError, match="has no card: its weights are untrained"):
            rgbd3d.create_model(NAME, task).push_to_hub("me/model")


def test_tasks():
    assert isinstance(rgbd3d.create_model(NAME), RgbdModel)
    assert isinstance(rgbd3d.create_model(NAME, "pretraining"), RgbdForPreTraining)
    for call in (rgbd3d.create_model, rgbd3d.from_pretrained):
        with pytest.raises(ModelError, match=r"unknown task 'translation'; there are 'pretraining', .* and None"):
            call(NAME, "translation")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("mask3d-vitb-scannet", "`rgbd3d pretrain mask3d-vitb-scannet --data YOUR_COPY_OF_SCANNET`"),
        ("mae-vitl-imagenet", "`rgbd3d pretrain mae-vitl-imagenet --data PARQUET_OF_IMAGENET_1K`"),
        ("mae-vitl-imagenet", "`python conversion/mae.py FILE mae-vitl-imagenet FOLDER`"),
    ],
)
def test_a_recipe_has_no_weights(name: str, command: str):
    for call in (
        lambda: rgbd3d.create_model(name, pretrained=True),
        lambda: rgbd3d.create_model(name, "pretraining", pretrained=True),
        lambda: rgbd3d.from_pretrained(name),
        lambda: card_weights.backbone_weights(name),
    ):
        with pytest.raises(NoWeightsError) as caught:
            call()
        assert command in str(caught.value)


def test_the_named_ways_to_weights_of_photographs_work(tmp_path: Path):
    photograph = {"image": torch.zeros(3, 12, 16, dtype=torch.uint8), "scene_id": "n01440764", "frame_id": 0}
    write_shard(tmp_path / "train-00000-of-00001.parquet", [encode_sample(photograph)])
    source = open_frames(registry.get_card("mae-vitb-imagenet"), str(tmp_path))
    assert source[0].keys() == photograph.keys()
    mae = conversion_modules.load("mae")
    weights = stored_weights(build_vit(registry.get_card("mae-vitb-imagenet").backbone))
    torch.save({"model": weights}, tmp_path / "public.pth")
    converted = mae.convert(mae.read(tmp_path / "public.pth"))
    assert converted.keys() == {f"backbone.{key}" for key in weights.keys() - {"pos_embed"}}
    for other in ("mae-vitl-imagenet", "mask3d-vitb-scannet"):
        assert mae.main([str(tmp_path / "public.pth"), other, str(tmp_path / "other")]) == 1
    assert not (tmp_path / "other").exists()
    assert (REPOSITORY / "docs" / "data.md").is_file()


@pytest.mark.slow
def test_a_converted_checkpoint_is_a_model(tmp_path: Path):
    mae = conversion_modules.load("mae")
    weights = stored_weights(build_vit(registry.get_card("mae-vitb-imagenet").backbone))
    torch.save({"model": weights}, tmp_path / "public.pth")
    assert mae.main([str(tmp_path / "public.pth"), "mae-vitb-imagenet", str(tmp_path / "converted")]) == 0
    model = rgbd3d.from_pretrained(tmp_path / "converted")
    assert torch.equal(model.backbone.blocks[11].mlp.fc2.weight, weights["blocks.11.mlp.fc2.weight"])
    assert model.card.license == registry.get_card("mae-vitb-imagenet").license


def test_bundled_backbone(bundled: Path, method: torch.nn.Module):
    model = rgbd3d.create_model("tiny", pretrained=True)
    assert model.card == registry.get_card("tiny")
    expected = halved(method.backbone)
    loaded = {name: value for name, value in model.backbone.state_dict().items() if "pos_embed" not in name}
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    assert all(value.dtype == torch.float32 for value in loaded.values())
    assert torch.equal(card_weights.backbone_weights("tiny")["norm.weight"].float(), expected["norm.weight"])


def test_bundled_pretraining_model(bundled: Path, method: torch.nn.Module):
    model = rgbd3d.from_pretrained("tiny", "pretraining")
    loaded, expected = halved(model.method), halved(method)
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


@pytest.mark.parametrize("task", [None, "pretraining"])
def test_what_is_loaded_is_ready_to_predict(bundled: Path, saved: Path, task: str | None):
    assert not any(rgbd3d.from_pretrained(name, task).training for name in ("tiny", saved))
    assert rgbd3d.create_model("tiny", task, pretrained=True).training


@pytest.mark.parametrize("file", ["model.safetensors", "decoder.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_bundled_weights_are_refused(bundled: Path, file: str, damage: str):
    path = bundled / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink() if damage == "remove" else path.write_bytes(content[: len(content) - (damage == "truncate")])
    with pytest.raises(ModelError, match=r"the bundled weights of tiny are damaged .*; reinstall rgbd3d"):
        rgbd3d.create_model("tiny", "pretraining", pretrained=True)


def test_weights_that_lack_a_tensor_are_refused(bundled: Path, recipe: Card, method: torch.nn.Module):
    weights = stored_weights(method.backbone)
    del weights["blocks.3.attn.qkv.bias"]
    save_file(weights, bundled / card_weights.BACKBONE_FILE)
    card = registry.get_card("tiny")
    pins = {**card.weights.files, card_weights.BACKBONE_FILE: pin(bundled / card_weights.BACKBONE_FILE)}
    card_index._known()["tiny"].write_text(cards.dump(replace(card, weights=replace(card.weights, files=pins))))
    card_index._load_named.cache_clear()
    with pytest.raises(RuntimeError, match=r"blocks\.3\.attn\.qkv\.bias"):
        rgbd3d.create_model("tiny", pretrained=True)


def test_only_the_backbone_is_published(bundled: Path):
    card = registry.get_card("tiny")
    pins = {card_weights.BACKBONE_FILE: card.weights.files[card_weights.BACKBONE_FILE]}
    card_index._known()["tiny"].write_text(cards.dump(replace(card, weights=replace(card.weights, files=pins))))
    card_index._load_named.cache_clear()
    assert rgbd3d.create_model("tiny", pretrained=True)
    with pytest.raises(NoWeightsError, match="only the backbone of tiny is published"):
        rgbd3d.create_model("tiny", "pretraining", pretrained=True)


def test_a_folder(saved: Path, method: torch.nn.Module):
    model = rgbd3d.from_pretrained(saved)
    assert isinstance(model, RgbdModel)
    assert torch.equal(model.backbone.norm.weight, method.backbone.norm.weight)
    assert torch.equal(model.backbone.blocks[3].mlp.fc1.weight, method.backbone.blocks[3].mlp.fc1.weight)
    full = rgbd3d.from_pretrained(str(saved), "pretraining")
    assert all(torch.equal(value, full.method.state_dict()[name]) for name, value in method.state_dict().items())


def test_a_folder_without_the_pretraining_model(recipe: Card, method: torch.nn.Module, tmp_path: Path):
    folder = save_pretrained_folder(method.backbone, recipe, tmp_path / "backbone")
    with pytest.raises(FileNotFoundError, match="holds only a backbone"):
        rgbd3d.from_pretrained(folder, "pretraining")


def test_a_revision_belongs_to_the_hub(saved: Path):
    for name in (saved, NAME):
        with pytest.raises(ModelError, match="revision is for Hub ids"):
            rgbd3d.from_pretrained(name, revision="main")


def test_a_hub_id_goes_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="nobody/nothing"):
        rgbd3d.from_pretrained("nobody/nothing", revision="0" * 40)


# ----------------------------------------------------------------------------------------------------- registering


def test_register_a_folder(recipe: Card, tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(cards.dump(recipe))
    child = replace(recipe, name="tiny-two", init="tiny")
    (tmp_path / "tiny-two.yaml").write_text(cards.dump(child))
    assert rgbd3d.register(tmp_path) == ["tiny", "tiny-two"]
    assert rgbd3d.get_card("tiny") == recipe
    assert [card.name for card in registry.lineage("tiny-two")] == ["tiny", "tiny-two"]
    assert rgbd3d.register(tmp_path) == ["tiny", "tiny-two"], "registering twice changes nothing"
    assert rgbd3d.list_models("tiny*") == ["tiny", "tiny-two"]


def test_an_edited_card_is_read_again(recipe: Card, tmp_path: Path):
    for title in ("one", "two"):
        (tmp_path / "tiny.yaml").write_text(cards.dump(replace(recipe, title=title)))
        rgbd3d.register(tmp_path)
        assert rgbd3d.get_card("tiny").title == title


def test_register_refuses(recipe: Card, tmp_path: Path, bundled: Path):
    def refused(card: Card, file: str, message: str) -> None:
        folder = tmp_path / file
        folder.mkdir()
        (folder / f"{file}.yaml").write_text(cards.dump(card))
        before = rgbd3d.list_models()
        with pytest.raises(CardError, match=message):
            rgbd3d.register(folder)
        assert rgbd3d.list_models() == before

    refused(replace(recipe, name="x"), "y", "name is 'x'; it should be that of the file, 'y'")
    refused(replace(recipe, name=NAME), NAME, f"the name '{NAME}' is taken by .*{NAME}.yaml; rename the card")
    refused(replace(registry.get_card("tiny"), name="mine"), "mine", "bundled is for the package's own cards")


def test_register_needs_cards_and_a_pinned_repository(tmp_path: Path):
    with pytest.raises(ModelError, match="no card"):
        rgbd3d.register(tmp_path)
    with pytest.raises(ModelError, match="there is no folder"):
        rgbd3d.register(tmp_path / "missing")
    for revision in (None, "main"):
        with pytest.raises(ModelError, match="cards from the Hub are pinned"):
            rgbd3d.register("me/cards", revision=revision)


# --------------------------------------------------------------------------------------------------------- the Hub


def test_cards_and_weights_from_the_hub(
    hub: LoopbackHub, recipe: Card, method: torch.nn.Module, saved: Path, tmp_path: Path
):
    weights = publish(hub, saved, name="me/tiny-weights").oid
    files = cards.load_card(saved / "card.yaml").weights.files
    pinned = Weights(status="hub", repo="me/tiny-weights", revision=weights, files=files)
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "tiny.yaml").write_text(cards.dump(replace(recipe, weights=pinned)))
    commit = publish(hub, folder, name="me/cards").oid

    assert rgbd3d.register("me/cards", revision=commit) == ["tiny"]
    assert rgbd3d.list_models("tiny", pretrained=True) == ["tiny"]
    model = rgbd3d.create_model("tiny", pretrained=True)
    assert torch.equal(model.backbone.blocks[3].mlp.fc1.weight, method.backbone.blocks[3].mlp.fc1.weight)
    full = rgbd3d.create_model("tiny", "pretraining", pretrained=True)
    assert all(torch.equal(value, full.method.state_dict()[name]) for name, value in method.state_dict().items())
    direct = rgbd3d.from_pretrained("me/tiny-weights", revision=weights)
    assert torch.equal(direct.backbone.norm.weight, method.backbone.norm.weight)

    wrong = (saved / card_weights.BACKBONE_FILE).read_bytes()
    (saved / card_weights.BACKBONE_FILE).write_bytes(wrong[:-1] + bytes([wrong[-1] ^ 1]))
    other = publish(hub, saved, name="me/tiny-weights").oid
    (folder / "tiny.yaml").write_text(cards.dump(replace(recipe, weights=replace(pinned, revision=other))))
    card_index._known()["tiny"] = folder / "tiny.yaml"
    with pytest.raises(HubError, match="sha256"):
        rgbd3d.create_model("tiny", pretrained=True)


def test_a_damaged_card_in_the_cache_is_noticed(hub: LoopbackHub, recipe: Card, tmp_path: Path):
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "tiny.yaml").write_text(cards.dump(recipe))
    commit = publish(hub, folder, name="me/cards").oid
    rgbd3d.register("me/cards", revision=commit)
    cached = card_index._known()["tiny"].resolve()
    cached.write_text(cached.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(HubError, match=r"tiny\.yaml of me/cards.* is damaged; .* run it again"):
        rgbd3d.register("me/cards", revision=commit)
    assert rgbd3d.register("me/cards", revision=commit) == ["tiny"]


def test_a_commit_that_the_hub_does_not_have(hub: LoopbackHub):
    with pytest.raises(HubError, match="me/cards"):
        rgbd3d.register("me/cards", revision="0" * 40)
