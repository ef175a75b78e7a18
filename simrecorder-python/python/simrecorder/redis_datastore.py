"""The module of the original SimRecorder of this name; import from `simrecorder` instead."""

from .datastores import RedisDataStore, RedisServer, Serialization
