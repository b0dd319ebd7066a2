-- From when on buckets of a grain ('minute', 'quarter') are all there to be read. A little later
-- than maintain prunes, so that nothing is pruned from under a reader's feet.
create or replace function meshmetrics_parts.kept_since(grain text)
returns timestamptz
language sql
stable
set search_path = pg_catalog, public, pg_temp
as $$
  select case grain
    when 'minute'
      then date_bin('15 minutes', now() - interval '47 hours 30 minutes', '2000-01-01 00:00:00+00')
    when 'quarter' then date_trunc('day', now() - interval '399 days', 'UTC')
    else '-infinity'
  end;
$$;
