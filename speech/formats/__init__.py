"""The formats others read: pure functions between text and dataclasses, a module per family.

| module | formats | for |
|---|---|---|
| `captions` | SRT, WebVTT | players, people |
| `nist` | RTTM, CTM, STM | scoring: DER, WER, cpWER |
| `manifests` | NeMo and Lhotse manifests (JSON lines) | training |
"""
