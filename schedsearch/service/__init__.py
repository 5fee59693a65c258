"""The service: HTTP for the use cases of `schedsearch.app`; it holds no search itself."""
