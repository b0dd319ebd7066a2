-- Whether Realtime reads the changes of this database now: it makes a temporary slot for them, which is active
-- while the connection that reads it is there. Realtime says "Subscribed to PostgreSQL" without it, too.
create or replace function meshmetrics.stream_slot_active()
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from pg_replication_slots s
    where s.slot_type = 'logical' and s.database = current_database() and s.active
      and s.slot_name like '%realtime%'
      and s.slot_name not like '%messages%' -- of Realtime's own broadcasts
  );
$$;
