"""The fixtures of all tests."""

from places import in_own_folder, place, redis_server

__all__ = ["in_own_folder", "place", "redis_server"]
