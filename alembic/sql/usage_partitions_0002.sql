-- Makes the partitions of `p_months` months from the one of `p_first` on, where they are missing; returns how many.
-- It belongs to the owner of the tables: nobody else may attach a partition. ATTACH locks the parent less than
-- CREATE ... PARTITION OF, and is the only way for a month whose rows lie in the default partition already.
create function fanfold.usage_partitions(p_first date, p_months integer) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  month_start date;
  month_end date;
  partition text;
  made integer := 0;
begin
  perform pg_advisory_xact_lock(hashtextextended('fanfold.usage_partitions', 0));
  for i in 0 .. p_months - 1 loop
    month_start := (date_trunc('month', p_first::timestamp) + make_interval(months => i))::date;
    month_end := (month_start + interval '1 month')::date;
    partition := 'usage_events_' || to_char(month_start, 'YYYYMM');
    continue when to_regclass(format('fanfold.%I', partition)) is not null;
    execute format('create table fanfold.%I (like fanfold.usage_events including defaults including constraints)', partition);
    -- The owner is bound by FORCE too; it is lifted for the move alone, under the lock that ALTER TABLE takes.
    alter table fanfold.usage_events_default no force row level security;
    execute format('with moved as (delete from fanfold.usage_events_default t
                                    where t.period_start >= %2$L and t.period_start < %3$L returning t.*)
                    insert into fanfold.%1$I select * from moved', partition, month_start, month_end);
    alter table fanfold.usage_events_default force row level security;
    execute format('alter table fanfold.usage_events attach partition fanfold.%I for values from (%L) to (%L)',
                   partition, month_start, month_end);
    -- Policies of the parent hold through the parent. Read directly, a partition without any shows nothing.
    execute format('alter table fanfold.%I enable row level security, force row level security', partition);
    made := made + 1;
  end loop;
  return made;
end
$function$
