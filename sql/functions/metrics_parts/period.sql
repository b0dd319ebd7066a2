-- Widens a requested period to one that the stored buckets cover exactly: from_at goes down and to_at up to
-- whole minutes where the period and the one before it are of the last two days, to quarters of
-- an hour before that, and to whole UTC days where quarters are no longer kept. previous_starts_at
-- begins the period of the same length before.
create or replace function meshmetrics_parts.period(
  from_at timestamptz,
  to_at timestamptz,
  out starts_at timestamptz,
  out ends_at timestamptz,
  out previous_starts_at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set timezone = 'UTC'
as $$
declare
  epoch constant timestamptz := '2000-01-01 00:00:00+00';
  earliest constant timestamptz := '1970-01-01 00:00:00+00';
  latest constant timestamptz := '2200-01-01 00:00:00+00';
  quarters_from constant timestamptz := meshmetrics_parts.kept_since('quarter');
  unit interval := '15 minutes';
begin
  if from_at is null or from_at not between earliest and latest then
    perform meshmetrics_parts.refuse_parameter('from_at', from_at::text, 'a time from 1970 to 2200');
  end if;
  if to_at is null or to_at not between earliest and latest then
    perform meshmetrics_parts.refuse_parameter('to_at', to_at::text, 'a time from 1970 to 2200');
  end if;
  if from_at >= to_at then
    perform meshmetrics_parts.refuse_parameter(
      'from_at', to_json(from_at) #>> '{}', 'a time before the end of the period, ' || (to_json(to_at) #>> '{}')
    );
  end if;

  if from_at - (to_at - from_at) >= meshmetrics_parts.kept_since('minute') then
    unit := '1 minute';
  end if;
  starts_at := date_bin(unit, from_at, epoch);
  ends_at := date_bin(unit, to_at, epoch);
  if ends_at < to_at then
    ends_at := ends_at + unit;
  end if;
  if starts_at < quarters_from then
    starts_at := date_trunc('day', starts_at);
  end if;
  if ends_at < quarters_from and ends_at > date_trunc('day', ends_at) then
    ends_at := date_trunc('day', ends_at) + interval '1 day';
  end if;
  previous_starts_at := starts_at - (ends_at - starts_at);
  if previous_starts_at < quarters_from then
    previous_starts_at := date_trunc('day', previous_starts_at);
  end if;
end;
$$;
