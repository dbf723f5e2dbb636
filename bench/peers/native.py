"""The library that CMakeLists.txt builds: ringfold, and flash attention on products of oneDNN and OpenBLAS."""
import ctypes


def pointers(tensors):
    """Addresses of tensors, null for None; who calls keeps the tensors."""
    assert all(x is None or x.is_contiguous() for x in tensors)
    return (ctypes.c_void_p * len(tensors))(*(x.data_ptr() if x is not None else None for x in tensors))


class Subject:
    """One head made ready by the library; forward and backward take tensors in the order of subject.hpp."""

    def __init__(self, library, handle):
        self._library, self._handle = library, handle

    def __del__(self):
        self._library.peers_close(self._handle)

    def forward(self, tensors):
        return self._bound(self._library.peers_forward, tensors)

    def backward(self, tensors):
        return self._bound(self._library.peers_backward, tensors)

    def _bound(self, function, tensors):
        at = pointers(tensors)

        def call():
            function(self._handle, at)
        call.kept = tensors  # what the addresses are of
        return call


class Native:
    def __init__(self, path):
        self._library = ctypes.CDLL(path)
        long, pointer = ctypes.c_long, ctypes.c_void_p
        for name, result, *arguments in (
                ("open_attention", pointer, ctypes.c_char_p, long, long, ctypes.c_int, ctypes.c_int),
                ("open_linear", pointer, long, long, long, ctypes.c_int),
                ("forward", None, pointer, pointer),
                ("backward", None, pointer, pointer),
                ("close", None, pointer),
                ("ring", None, long, long, ctypes.c_int, pointer, ctypes.c_int, pointer),
                ("fma_peak", ctypes.c_double),
                ("one_dnn", ctypes.c_char_p), ("open_blas", ctypes.c_char_p), ("compiler", ctypes.c_char_p)):
            function = getattr(self._library, f"peers_{name}")
            function.restype, function.argtypes = result, arguments

    def attention(self, name, tokens, dim, is_causal, is_bf16):
        """None where that library has no such products."""
        handle = self._library.peers_open_attention(name.encode(), tokens, dim, is_causal, is_bf16)
        return Subject(self._library, handle) if handle else None

    def linear(self, tokens, dim, chunk, has_gates):
        return Subject(self._library, self._library.peers_open_linear(tokens, dim, chunk, has_gates))

    def ring(self, tokens, dim, is_causal, q_k_v_out, calls):
        """Seconds of each call on two ranks that are threads."""
        seconds = (ctypes.c_double * calls)()
        self._library.peers_ring(tokens, dim, is_causal, pointers(q_k_v_out), calls, seconds)
        return list(seconds)

    def fma_peak(self):
        return self._library.peers_fma_peak()

    def versions(self):
        return {name: getattr(self._library, f"peers_{symbol}")().decode()
                for name, symbol in (("oneDNN", "one_dnn"), ("OpenBLAS", "open_blas"), ("compiler", "compiler"))}
