-- Removes the oldest month of events that is over by more than `p_months` months, if all of it is in the daily sums;
-- returns it, or null where there is none. This month and the one before always stay; below 1 everything does.
-- It belongs to the owner of the tables: nobody else may detach a partition.
create function fanfold.usage_retention(p_months integer) returns date
language plpgsql security definer
set search_path = pg_catalog, pg_temp
-- Detaching locks out the whole ledger, and who waits for such a lock holds up all who come after: better another time.
set lock_timeout = '250ms'
as $function$
declare
  kept_from date := (date_trunc('month', now() at time zone 'UTC') - make_interval(months => p_months))::date;
  rolled timestamptz;
  is_rolled boolean;
  found record;
begin
  if p_months < 1 or not pg_try_advisory_xact_lock(hashtextextended('fanfold.usage_retention', 0)) then
    return null;
  end if;
  select coalesce(max(t.rolled_until), '-infinity') into rolled from fanfold.usage_rolls t;
  for found in select c.relname as partition, to_date(right(c.relname, 6), 'YYYYMM') as month
                 from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'fanfold.usage_events'::regclass and c.relname ~ '^usage_events_[0-9]{6}$'
                order by c.relname
  loop
    exit when found.month >= kept_from;
    -- The owner is bound by FORCE too, and would see no row.
    execute format('alter table fanfold.%I no force row level security', found.partition);
    execute format('select not exists (select from fanfold.%I t where t.occurred_at >= $1)', found.partition)
      into is_rolled using rolled;
    if is_rolled then
      execute format('alter table fanfold.usage_events detach partition fanfold.%I', found.partition);
      execute format('drop table fanfold.%I', found.partition);
      insert into fanfold.usage_removed_months (month) values (found.month);
      return found.month;
    end if;
    execute format('alter table fanfold.%I force row level security', found.partition);
  end loop;
  return null;
end
$function$
