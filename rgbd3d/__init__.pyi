from .cards import Card as Card
from .cards import CardError as CardError
from .cards import load_card as load_card
from .configuration import RgbdConfig as RgbdConfig
from .data.sources import open_source as open_source
from .export import export_onnx as export_onnx
from .export import export_torch as export_torch
from .folder import save_pretrained_folder as save_pretrained_folder
from .hub import HubError as HubError
from .hub import pull as pull
from .hub import push as push
from .hub import verify as verify
from .modeling import RgbdBackbone as RgbdBackbone
from .modeling import RgbdForPreTraining as RgbdForPreTraining
from .modeling import RgbdModel as RgbdModel
from .processing import RgbdImageProcessor as RgbdImageProcessor
from .registry import ModelError as ModelError
from .registry import NoWeightsError as NoWeightsError
from .registry import UnknownModelError as UnknownModelError
from .registry import create_model as create_model
from .registry import from_pretrained as from_pretrained
from .registry import get_card as get_card
from .registry import list_models as list_models
from .registry import model_info as model_info
from .registry import register as register
from .training.pretrain import pretrain as pretrain

__version__: str
