"""S3 storage for WMTP. `create_s3_manager` is the way in for those who use it without a configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmtp_s3.manager import create_s3_manager as create_s3_manager
    from wmtp_s3.settings import S3Settings as S3Settings

__all__ = ["S3Settings", "create_s3_manager"]


def __getattr__(name: str) -> Any:
    if name == "create_s3_manager":
        from wmtp_s3.manager import create_s3_manager

        return create_s3_manager
    if name == "S3Settings":
        from wmtp_s3.settings import S3Settings

        return S3Settings
    raise AttributeError(f"module 'wmtp_s3' has no attribute {name!r}")
