-- How many events, at most 100,000, lie in no month's partition but in the default one: there should be none.
-- By the months that have no partition: nobody may read a partition, and through the parent only their bounds lead to it.
create function fanfold.usage_default_rows() returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  months date[];
  outside text;
  found_rows bigint;
begin
  select array_agg(to_date(right(c.relname, 6), 'YYYYMM') order by c.relname) into months
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
   where i.inhparent = 'fanfold.usage_events'::regclass and c.relname ~ '^usage_events_[0-9]{6}$';
  if months is null then
    outside := 'true';
  else
    outside := format('t.period_start < %L or t.period_start >= %L',
                      months[1], (months[cardinality(months)] + interval '1 month')::date);
    select outside || coalesce(string_agg(format(' or (t.period_start >= %L and t.period_start < %L)',
                                                 g.month::date, (g.month + interval '1 month')::date), ''), '')
      into outside
      from generate_series(months[1]::timestamp, months[cardinality(months)]::timestamp, interval '1 month') g(month)
     where not g.month::date = any (months);
  end if;
  execute 'select count(*) from (select from fanfold.usage_events t where ' || outside || ' limit 100000) x' into found_rows;
  return found_rows;
end
$function$
