-- How long a run that is set aside waits for its next attempt: a minute after the first, twice as long after
-- each further one, a day at most.
create or replace function meshmetrics.set_aside_pause(attempts integer)
returns interval
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select least(interval '1 minute' * 2 ^ least(attempts - 1, 11), interval '1 day');
$$;
