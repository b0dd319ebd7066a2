-- Takes or renews the lease, unless another holder's is still running. last_alive: when a holder
-- (any) renewed before this call; null if there never was one.
create or replace function meshmetrics.take_lease(
  new_holder uuid,
  new_holder_name text,
  ttl interval,
  out held boolean,
  out holder_name text,
  out last_alive timestamptz
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  moment constant timestamptz := clock_timestamp();
begin
  select l.renewed_at into last_alive from meshmetrics.lease l where l.name = 'pipeline';

  insert into meshmetrics.lease as l (name, holder, holder_name, taken_at, renewed_at, expires_at)
  values ('pipeline', new_holder, new_holder_name, moment, moment, moment + ttl)
  on conflict (name) do update
  set holder = excluded.holder,
      holder_name = excluded.holder_name,
      taken_at = case when l.holder = excluded.holder then l.taken_at else excluded.taken_at end,
      renewed_at = excluded.renewed_at,
      expires_at = excluded.expires_at
  where l.holder = excluded.holder or l.expires_at < clock_timestamp();

  select l.holder = new_holder, l.holder_name
  into held, holder_name
  from meshmetrics.lease l
  where l.name = 'pipeline';
end;
$$;
