-- The buckets of the period [starts_at, ends_at), in order, empty ones too. `bucket` is one that
-- bucket returned. Hours, days and weeks (from Monday on) are those of the clocks
-- and calendars in `zone`: a day is 23 or 25 hours long where the clocks change, and an hour that
-- comes twice is two buckets. partial: the period holds only a part of the bucket.
--
-- Where quarters are no longer kept, days and weeks begin at the nearest UTC midnight.
create or replace function meshmetrics_parts.edges(
  starts_at timestamptz,
  ends_at timestamptz,
  bucket text,
  zone text,
  out first_at timestamptz[],
  out last_at timestamptz[],
  out partial boolean[]
)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set timezone = 'UTC'
as $$
declare
  epoch constant timestamptz := '2000-01-01 00:00:00+00';
  quarter constant interval := '15 minutes';
  quarters_from constant timestamptz := meshmetrics_parts.kept_since('quarter');
  edges timestamptz[];
  step interval;
begin
  begin
    perform starts_at at time zone zone;
  exception when invalid_parameter_value then
    perform meshmetrics_parts.refuse_parameter('zone', zone, 'the IANA name of a time zone, such as Asia/Kathmandu');
  end;

  if bucket in ('minute', 'quarter') then
    step := case bucket when 'minute' then interval '1 minute' else quarter end;
    edges := array(
      select generate_series(date_bin(step, starts_at, epoch), ends_at - interval '1 microsecond' + step, step)
    );
  elsif bucket = 'hour' then
    -- A clock may be moved by half an hour, and an hour then begins or ends with it. So: wherever
    -- the clock shows a full hour, or another hour than a quarter before.
    edges := array(
      select c.at
      from (
        select t as at, t at time zone zone as shown, (t - quarter) at time zone zone as shown_before
        from generate_series(
          date_bin(quarter, starts_at, epoch) - interval '2 hours', ends_at + interval '2 hours', quarter
        ) t
      ) c
      where c.shown = date_trunc('hour', c.shown)
        or date_trunc('hour', c.shown) <> date_trunc('hour', c.shown_before)
    );
  else
    step := case bucket when 'day' then interval '1 day' else interval '1 week' end;
    edges := array(
      select case when e.at < quarters_from then date_trunc('day', e.at + interval '12 hours') else e.at end
      from generate_series(
        date_trunc(bucket, starts_at at time zone zone) - step, (ends_at at time zone zone) + step, step
      ) d
      cross join lateral (
        -- A midnight that comes twice, and one that is skipped: the day begins with the first.
        select coalesce(min(c.at) filter (where c.at at time zone zone = d), max(c.at)) as at
        from unnest(array['0', '30 minutes', '1 hour', '2 hours']::interval[]) earlier
        cross join lateral (select (d at time zone zone) - earlier as at) c
      ) e
    );
  end if;

  select array_agg(b.first_at order by b.n), array_agg(b.last_at order by b.n), array_agg(b.partial order by b.n)
  into first_at, last_at, partial
  from (
    select
      e.n,
      greatest(e.at, starts_at) as first_at,
      least(e.next_at, ends_at) as last_at,
      e.at < starts_at or e.next_at > ends_at as partial
    from (
      select u.at, u.n, lead(u.at) over (order by u.n) as next_at
      from unnest(edges) with ordinality u (at, n)
    ) e
    where e.next_at > starts_at and e.at < ends_at and e.at < e.next_at
  ) b;
end;
$$;
