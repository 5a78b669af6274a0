"""Offline episodes: schema, shards, collection, sampling."""
