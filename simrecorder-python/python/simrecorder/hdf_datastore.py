"""The module of the original SimRecorder of this name; import from `simrecorder` instead."""

from .datastores import HDF5DataStore
