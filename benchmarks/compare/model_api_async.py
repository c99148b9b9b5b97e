"""OpenVINO's Model API with its asynchronous pipeline, as its documentation shows it."""

import cv2
from meter import Meter, arguments
from model_api.adapters import OpenvinoAdapter, create_core
from model_api.models import Model
from model_api.pipelines import AsyncPipeline

if __name__ == "__main__":
    given = arguments()
    meter = Meter()
    adapter = OpenvinoAdapter(
        create_core(),
        given.model,
        device="CPU",
        plugin_config={
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": given.precision,
        },
        max_num_requests=0,
    )
    model = Model.create_model(
        adapter,
        model_type="YOLOv8",
        configuration={"confidence_threshold": 0.25, "iou_threshold": 0.5},
        preload=False,
    )
    pipeline = AsyncPipeline(model)
    video = cv2.VideoCapture(given.clip)
    sent = taken = 0
    more, picture = video.read()
    while more or taken < sent:
        if more and pipeline.is_ready():
            pipeline.submit_data(picture, sent, {"at": sent})
            sent += 1
            more, picture = video.read()
        elif taken < sent:
            pipeline.await_any()
        answer = pipeline.get_result(taken)
        while answer is not None:
            taken += 1
            meter.tick(len(answer[0].scores))
            answer = pipeline.get_result(taken) if taken < sent else None
    meter.report()
