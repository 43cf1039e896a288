"""Runtimes of exported files: ONNX Runtime, OpenVINO, torch.export, ExecuTorch."""
