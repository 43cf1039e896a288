"""Tracking: gives the objects of successive frames ids, and measures ids against ground truth; numpy only.

- `vertebra.tracking.tracker`: `Tracker`, for predictions or a user's boxes.
- `vertebra.tracking.bytetrack`, `vertebra.tracking.ocsort`: the two methods; `vertebra.tracking.motion`: their Kalman filters.
- `vertebra.tracking.evaluate`: MOTA, IDF1 and HOTA, each in a file of its name; `vertebra.tracking.mot_text`: MOT challenge files.

`vertebra.inference.result_tracker` adds ids to the results of videos.
"""
