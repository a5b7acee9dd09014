"""As much of torch as is asked about a device, on a machine whose GPUs are made up: its name says which it is."""

import os


class cuda:
    @staticmethod
    def get_device_name(device: str) -> str:
        assert device == "cuda:0"
        return f"Toy GPU {os.environ['CUDA_VISIBLE_DEVICES']}"

    @staticmethod
    def max_memory_allocated(device: str) -> int:
        return 2**20

    @staticmethod
    def reset_peak_memory_stats(device: str) -> None:
        pass
