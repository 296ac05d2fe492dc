-- This month and the three after it, in UTC. Without arguments, so that the serving role may call it.
create function fanfold.usage_partitions() returns integer
language sql security definer
set search_path = pg_catalog, pg_temp
as $function$
  select fanfold.usage_partitions((now() at time zone 'utc')::date, 4)
$function$
