"""A made result of `pinisi vocabulary advise`, whose names try to be markup."""

from typing import Any


def made_advice(law: bool = True) -> dict[str, Any]:
    sizes = []
    for place, rows in enumerate((16_384, 65_536, 262_144, 524_288)):
        sizes.append(
            {
                "rows": rows,
                "tokens_per_byte": {"en": 0.3 - 0.03 * place, "my": 0.12 - 0.02 * place},
                "mean_tokens_per_byte": 0.21 - 0.025 * place,
                "flops_per_byte": 1e10 - 1e9 * place,
                "seconds_per_byte": {
                    "with_passes": 2e-6,
                    "without": None if place == 3 else 2e-6 + 1e-7 * place,
                },
                "bits": 0.7 - 0.01 * place if law else None,
                "interval": [0.5, 0.9] if law else None,
                "text": float("inf") if law and place == 0 else 1e11,
                "cost": float("inf") if law and place == 0 else 2e5 + 1e3 * (place - 2) ** 2,
                "unit": "seconds",
            }
        )
    return {
        "format": 1,
        "model": "<b>body</b> & more",
        "devices": 8,
        "hardware": "H100",
        "text_bytes": 1e11,
        "target": 0.69 if law else None,
        "body_parameters": 7e9,
        "law": {"numbers": [0.5, 0.1, 0.1, 0.1], "error": 0.01} if law else None,
        "published": {"approach 1 (IsoFLOPs)": 62_000.0, "approach 2 (derivative)": 67_000.0},
        "base": {"rows": 151_669, "tokens_per_byte": {"en": 0.18, "my": 0.53}},
        "reference": "en",
        "sizes": sizes,
        "cheapest": 262_144,
        "flat": [65_536, 262_144, 524_288],
        "short": 1_048_576,
    }
