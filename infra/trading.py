"""Which of a stack's planned events lie in the hours in which its owner trades. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from deployment.trading import trading
from infra.settings import Session, Settings, TradingHours
from infra.times import parse_time_of_day

_SUNDAY = 6
# Two weeks of a year whose zones are on winter and on summer time, each from a Monday on.
_WEEKS = (datetime(2026, 1, 5), datetime(2026, 7, 6))
_STEP = timedelta(minutes=15)


def in_words(hours: TradingHours) -> str:
    day = " of the next day" if parse_time_of_day(hours.close) < parse_time_of_day(hours.open) else ""
    return f"{hours.open} to {hours.close}{day} {hours.time_zone}"


def away_while_trading(settings: Settings) -> list[str]:
    """What of each gateway's planned day takes it away within the trading hours, with the hours that would not."""
    hours = settings.trading_hours
    return [
        f"ibgw:gateways.{name}.session.{key} {at} {gateway.session.time_zone} lies within ibgw:tradingHours "
        f"({in_words(hours)}), and the gateway is away then; choose a time from {hours.close} to {hours.open} "
        f"{hours.time_zone}, or correct the hours"
        for name, gateway in settings.gateways.items()
        for key, at, days in _planned(gateway.session)
        if any(trading(hours, moment) for moment in _moments(at, gateway.session, days))
    ]


def _planned(session: Session) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Key, time of day and days of the week (Monday is 0)."""
    daily = tuple(range(7))
    if session.auto_restart is not None:
        yield "autoRestart", session.auto_restart, daily
    if session.auto_logoff is not None:
        yield "autoLogoff", session.auto_logoff, daily
    if session.cold_restart is not None:
        yield "coldRestart", session.cold_restart, (_SUNDAY,)
    if session.offline is not None:
        yield "offline", f"{session.offline.from_} to {session.offline.until}", daily


def _moments(at: str, session: Session, days: tuple[int, ...]) -> Iterator[datetime]:
    begins, _, ends = at.partition(" to ")
    zone = ZoneInfo(session.time_zone)
    for week in _WEEKS:
        for day in days:
            moment = datetime.combine(week + timedelta(days=day), parse_time_of_day(begins), zone)
            yield moment.astimezone(UTC)
            if ends:
                until = datetime.combine(moment, parse_time_of_day(ends), zone)
                until += timedelta(days=1) if until <= moment else timedelta()
                while (moment := moment + _STEP) < until:
                    yield moment.astimezone(UTC)
