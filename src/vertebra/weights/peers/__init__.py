"""Models of other libraries in Vertebra's terms; one file a library and task."""
