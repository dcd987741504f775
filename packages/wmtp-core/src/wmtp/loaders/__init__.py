"""Finding and loading put together: the data and model loaders that everything above uses.

Where from: a local copy of *that* resource, then the cache, then the storage of ``storage.mode``, then the hub.
"""

from wmtp.loaders.datasets import DataLoader, create_data_loader
from wmtp.loaders.locations import model_key, open_destination, upload_folder
from wmtp.loaders.models import ModelLoader, create_model_loader
from wmtp.loaders.settings import LoaderConfig

__all__ = [
    "DataLoader",
    "LoaderConfig",
    "ModelLoader",
    "create_data_loader",
    "create_model_loader",
    "model_key",
    "open_destination",
    "upload_folder",
]
