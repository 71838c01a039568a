"""Reports as a verification leaves them, for tests of what follows from them."""

from typing import Any

from healthcheck.report import Report

VERDICT_CODES = {"verified": 0, "verified_with_warnings": 0, "failed": 3, "timed_out": 6}


def check(name: str, verdict: str = "pass", reason: str | None = None, **more: Any) -> dict[str, Any]:
    seen = f"{name} as seen"
    remedy = "do this" if reason else None
    return {
        "name": name,
        "verdict": verdict,
        "required": True,
        "reason": reason,
        "seen": seen,
        "remedy": remedy,
        **more,
    }


def report(
    *failing: str, stack: str = "live", verdict: str | None = None, checks: Any = (), gateways: int = 1
) -> Report:
    """Verified, or failed for these reasons. `checks` come on top."""
    found = [check("connected"), *(check("authenticated", "fail", reason) for reason in failing), *checks]
    chosen = verdict or ("failed" if failing else "verified")
    return Report.model_validate(
        {
            "schema": 1,
            "stack": stack,
            "verdict": chosen,
            "exit_code": VERDICT_CODES[chosen],
            "gateways": [
                {
                    "gateway": f"main{number or ''}",
                    "mode": stack.split("-")[0],
                    "verdict": chosen,
                    "started_at": "2026-11-23T01:00:00Z",
                    "waited_ms": 0,
                    "duration_ms": 100,
                    "vantage": {"api": True, "docker": True},
                    "verifier": {"version": "0.1.0", "image_id": None},
                    "checks": found,
                }
                for number in range(gateways)
            ],
        }
    )
