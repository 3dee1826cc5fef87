"""Reads of the live state: metric queries evaluated at one moment, each answer with the offsets it is a function of."""

from serving.read.query import MetricQuery, QueryError, evaluate
from serving.read.reader import Answer, AsOf, Reader, Rebuilding

__all__ = ["Answer", "AsOf", "MetricQuery", "QueryError", "Reader", "Rebuilding", "evaluate"]
