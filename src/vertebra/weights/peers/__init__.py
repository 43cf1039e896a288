"""Models of other libraries as Vertebra models; one file for each library and task."""
