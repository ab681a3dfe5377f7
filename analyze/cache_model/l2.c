/* The L2 as a stack of granules: the DRAM reads and writes of each kernel of a step that follows an equal step.

   A granule is a piece of a storage, a mebibyte or less. The last used granule is on top of the stack. A granule is
   lost once the bytes used after it exceed the capacity. Addresses are hashed to sets of a few ways, so the loss is
   gradual: the number of later lines that fall into a line's set is a Poisson variable, and the line is lost when it
   reaches the number of ways. A written granule is also written back, without being lost, when the bytes written after
   it exceed the dirty share of the capacity.

   A kernel runs in phases. In a phase it touches the granules of its operands side by side, each granule once.

   The host (simulation.py) calls `reserve`, writes its arrays there, and calls `simulate` for each step. This file is
   compiled to l2.wasm by `make wasm`. It has no libraries, and its memory and its work are bounded. */

typedef unsigned int u32;
typedef long long i64;
typedef double f64;

enum { OK = 0, TOO_LONG = 1, NO_MEMORY = 2 };

#define LARGEST_GRANULE (1 << 20)
#define SMALLEST_GRANULE (1 << 12)
#define PIECES 256 /* most granules of a storage, if they are smaller than the largest granule, times two */
#define MOST_WAVES 64 /* more waves are merged, so that the time has a bound */
#define PAIRED 2048 /* in longer phases all granules before a granule count as deeper: together they exceed any L2 */
#define NONE 0xffffffffu
#define SURVIVALS 1281 /* steps of a survival table, from no later use to the use after which a line is lost */

/* One operand of a kernel, read or written; the fields are documented in operands.Touch. The storages that the steps
   of a call touch are numbered from 0. */
typedef struct {
    i64 storage, offset, bytes, span;
    f64 parts, stay;
    u32 waves, passes, write, shared;
} Touch;

/* The parameters of the modelled L2, see policy.Policy. */
typedef struct {
    f64 capacity, dirty_capacity; /* bytes */
    f64 copies[3]; /* bytes in the cache for each byte read, by how multiprocessors share it, see Touch.shared */
    f64 steps; /* steps of a survival table for each capacity of later use */
    f64 kept[SURVIVALS]; /* share of lines still there after later use */
    f64 held[SURVIVALS]; /* share of dirty lines not yet written back after later writes */
} Policy;

typedef struct {
    i64 first, end; /* bytes touched in the storage: the first, and the one after the last */
    i64 size; /* bytes of a granule */
    u32 granule; /* number of the first granule */
} Storage;

/* A granule that a phase touches. */
typedef struct {
    f64 position; /* place within the operand, from 0 to 1 */
    f64 read, written; /* bytes */
    f64 copies; /* bytes in the cache for each byte of it, when only read */
    f64 size; /* bytes of the granule */
    u32 granule;
} Access;

/* A granule in the cache. */
typedef struct {
    f64 present; /* bytes in the cache */
    f64 occupied; /* bytes of the cache: copies count, too */
    f64 dirty, dirtied; /* bytes not yet written back, now and when last touched */
    f64 use; /* bytes used since it was touched */
    u32 granule; /* NONE where the granule has moved to the top */
    u32 moved; /* number of the touch that moved it, 0 before */
} Entry;

static const Policy *policy;
static Storage *storages;
static u32 *slot_of; /* by granule: its place in the stack, or NONE */
static u32 *place_of; /* by granule: its place in the phase being merged, or NONE */
static u32 *runs; /* where the granules of each operand begin in the phase */
static u32 *slots; /* by place in the phase: the granule's entry before it is touched, or NONE */
static f64 *newly; /* by place in the phase: bytes that the granule takes in the cache */
static f64 *earlier; /* by place in the phase: bytes of granules that came earlier from deeper in the stack */
static Access *phase, *spare; /* the granules of a phase, and as much room to sort them */
static Entry *stack;
static u32 bottom, top, living; /* the stack's first entry, the one after its last, and those that have a granule */
static u32 phase_start, phase_length; /* number of the phase's first touch, and of its touches */
static u32 deepest; /* the deepest entry that moved in this phase */
static f64 absent; /* bytes of the phase's granules so far that were not in the stack */
static i64 work_left; /* granules that may still be looked at */

/* Memory: the host's arrays, then those of a step, then the stack, which grows. */

extern unsigned char __heap_base;
static unsigned char *heap, *step_heap;

static int fits(unsigned char *end) {
    unsigned long pages = ((unsigned long)end + 65535) >> 16, have = __builtin_wasm_memory_size(0);
    return pages <= have || __builtin_wasm_memory_grow(0, pages - have) != (unsigned long)-1;
}

static void *allocate(i64 count, i64 size) {
    unsigned char *start = heap;
    if (count < 0 || count > (1 << 30) / size || !fits(start + (count * size + 15) / 16 * 16)) return 0;
    heap += (count * size + 15) / 16 * 16;
    return start;
}

#define ROOM(array, count) (array = allocate(count, sizeof *array))

/* Room for `bytes` of the host; 0 if there is not enough memory. */
__attribute__((export_name("reserve"))) void *reserve(i64 bytes) {
    heap = (unsigned char *)(((unsigned long)&__heap_base + 15) / 16 * 16);
    void *start = allocate(bytes, 1);
    step_heap = heap;
    return start;
}

static f64 larger(f64 a, f64 b) { return a > b ? a : b; }
static f64 smaller(f64 a, f64 b) { return a < b ? a : b; }
/* Share of lines still there after `use` bytes of other lines. */
static f64 survival(const f64 *table, f64 use, f64 capacity) {
    return table[(u32)smaller(use * (policy->steps / capacity), SURVIVALS - 1)];
}

static i64 granules_of(const Touch *touch, i64 size) {
    return (touch->offset + touch->span + size - 1) / size - touch->offset / size;
}

/* A power of two, fine enough to tell a storage's views apart: the finest is `span` bytes long, the last ends at
   `extent`. */
static i64 granule_size(i64 span, i64 extent) {
    i64 least = span > extent / PIECES ? span : extent / PIECES, size = SMALLEST_GRANULE;
    while (size < LARGEST_GRANULE && 2 * size <= least) size *= 2;
    return size;
}

/* Find what the touches use of each storage: its ends, and the finest span as its size. */
static void measure(const Touch *begin, const Touch *end) {
    for (const Touch *touch = begin; touch < end; touch++)
        storages[touch->storage] = (Storage){touch->offset, 0, LARGEST_GRANULE, NONE};
    for (const Touch *touch = begin; touch < end; touch++) {
        Storage *storage = &storages[touch->storage];
        i64 last = touch->offset + touch->span;
        if (touch->offset < storage->first) storage->first = touch->offset;
        if (last > storage->end) storage->end = last;
        if (touch->span && touch->span < storage->size) storage->size = touch->span;
    }
}

/* Number the granules of the storages that the touches use, and make room for the step. */
static int prepare(const Touch *touches, const u32 *kernels, u32 count, u32 storage_count) {
    heap = step_heap;
    if (!ROOM(storages, storage_count)) return NO_MEMORY;
    measure(touches + kernels[0], touches + kernels[count]);
    i64 granules = 0, longest = 0, most_operands = 0;
    for (u32 kernel = 0; kernel < count; kernel++) {
        i64 length = 0, operands = kernels[kernel + 1] - kernels[kernel];
        for (u32 at = kernels[kernel]; at < kernels[kernel + 1]; at++) {
            Storage *storage = &storages[touches[at].storage];
            if (storage->granule == NONE) {
                storage->size = granule_size(storage->size, storage->end);
                storage->granule = granules;
                granules += (storage->end + storage->size - 1) / storage->size - storage->first / storage->size;
            }
            length += granules_of(&touches[at], storage->size);
        }
        if (length > longest) longest = length;
        if (operands > most_operands) most_operands = operands;
    }
    if (!ROOM(slot_of, granules) || !ROOM(place_of, granules) || !ROOM(runs, most_operands + 1) ||
        !ROOM(newly, longest) || !ROOM(earlier, longest) || !ROOM(slots, longest) || !ROOM(phase, longest) ||
        !ROOM(spare, longest))
        return NO_MEMORY;
    stack = (Entry *)heap;
    for (i64 i = 0; i < granules; i++) slot_of[i] = place_of[i] = NONE;
    bottom = top = living = 0, phase_start = 1;
    return OK;
}

/* How often `part` fits whole into `value`, which is less than 2 * MOST_WAVES. Every subtraction is exact. */
static f64 whole(f64 value, f64 part) {
    f64 times = 0;
    for (f64 power = MOST_WAVES; power >= 1; power /= 2)
        if (value >= part * power) value -= part * power, times += power;
    return times;
}

/* Append the granules of the part of an operand that a wave of `count` uses, rounded to whole granules. Each of these
   waves stands for `merged` ones. */
static u32 pieces(const Touch *touch, u32 wave, u32 count, f64 merged, u32 at) {
    const Storage *storage = &storages[touch->storage];
    i64 size = storage->size, end = touch->offset + touch->span, first = touch->offset / size;
    i64 length = granules_of(touch, size);
    f64 parts = touch->parts ? larger(touch->parts / merged, 1) : count;
    f64 begin = whole(wave, larger(touch->stay / merged, 1)) / parts;
    begin -= __builtin_floor(begin); /* past the end it begins again */
    i64 start = __builtin_rint(begin * length), stop = __builtin_rint((begin + 1 / parts) * length);
    f64 share = (f64)touch->bytes / (touch->span > 1 ? touch->span : 1);
    u32 base = storage->granule + (u32)(first - storage->first / size);
    for (i64 i = start; i < stop; i++, at++) {
        i64 index = i < length ? i : i - length, from = (first + index) * size, to = from + size;
        /* The first and the last granule may hold bytes of other operands as well. */
        f64 bytes = ((to < end ? to : end) - (from > touch->offset ? from : touch->offset)) * share;
        f64 position = (i - start + 0.5) / (stop - start);
        phase[at] = (Access){position, touch->write ? 0 : bytes, touch->write ? bytes : 0,
                             policy->copies[touch->shared], size, base + (u32)index};
    }
    return at;
}

/* Merge two neighbouring sorted runs of the phase, up to `middle` and up to `end`, into the spare room. */
static void merge(u32 start, u32 middle, u32 end) {
    u32 left = start, right = middle;
    for (u32 at = start; at < end; at++)
        spare[at] = left < middle && (right == end || phase[left].position <= phase[right].position) ? phase[left++]
                                                                                                     : phase[right++];
}

/* Sort the phase, in which each operand is a sorted run: operands advance at the same relative speed. */
static void sort(u32 count) {
    for (; count > 1; count = (count + 1) / 2) {
        for (u32 run = 0; run < count; run += 2) {
            u32 middle = runs[run + 1], end = run + 1 < count ? runs[run + 2] : middle;
            merge(runs[run], middle, end);
            runs[run / 2] = runs[run];
            runs[run / 2 + 1] = end;
        }
        Access *sorted = spare;
        spare = phase;
        phase = sorted;
    }
}

/* Put the granules that the reads, the writes or both touch in a wave into the phase; returns their number. Before the
   last pass (0) come the earlier ones of the operands that are read so often. A granule that several operands touch
   takes the position of the first; they are slices of it that lie side by side. */
static u32 gather(const Touch *begin, const Touch *end, u32 pass, int reads, int writes, u32 wave, u32 count,
                  f64 merged) {
    u32 length = 0, operands = 0, distinct = 0;
    for (int written = 0; written < 2; written++)
        for (const Touch *touch = begin; touch < end; touch++)
            if ((int)touch->write == written && (written ? writes : reads) && (!pass || touch->passes > pass)) {
                runs[operands++] = length;
                length = pieces(touch, wave, count, merged, length);
            }
    runs[operands] = length;
    if (operands < 2) return length;
    sort(operands);
    for (u32 at = 0; at < length; at++) {
        u32 *place = &place_of[phase[at].granule];
        if (*place == NONE) {
            *place = distinct;
            phase[distinct++] = phase[at];
        } else {
            Access *first = &phase[*place];
            first->read = smaller(first->read + phase[at].read, first->size);
            first->written = smaller(first->written + phase[at].written, first->size);
        }
    }
    for (u32 at = 0; at < distinct; at++) place_of[phase[at].granule] = NONE;
    return distinct;
}

/* Bytes of the granules that came earlier in the phase from deeper in the stack than the slot of the granule at a place
   in the phase. They are summed in the order of the phase, so that rounding does not depend on how they are found. */
static f64 used_before(u32 at, u32 slot) {
    u32 below = slot;
    while (below > deepest && stack[below - 1].moved < phase_start) below--;
    if (below <= deepest) return earlier[at] = absent;
    /* The next deeper granule that moved has the sum of all that came before it from deeper still. */
    u32 other = stack[below - 1].moved - phase_start;
    f64 sum = earlier[other];
    for (; other < at; other++)
        if (slots[other] == NONE || slots[other] < slot) sum += newly[other];
    return earlier[at] = sum;
}

/* Remove the entries that have no granule. */
static void compact(void) {
    u32 kept = 0;
    for (u32 slot = bottom; slot < top; slot++)
        if (stack[slot].granule != NONE) {
            slot_of[stack[slot].granule] = kept;
            stack[kept++] = stack[slot];
        }
    bottom = 0, top = kept;
}

/* Update every granule's later use and drop lost granules; returns the bytes written back. */
static f64 age(void) {
    f64 use = 0, dirty_use = 0, written = 0, forgotten = (SURVIVALS - 1) / policy->steps * policy->capacity;
    u32 slot = top;
    work_left -= top - bottom;
    while (slot-- > bottom) {
        Entry *entry = &stack[slot];
        if (entry->granule == NONE) continue;
        use += entry->occupied;
        entry->use = use - entry->occupied;
        if (entry->dirty > 0) {
            dirty_use += entry->dirty;
            f64 kept = survival(policy->kept, entry->use, policy->capacity);
            f64 held = survival(policy->held, dirty_use - entry->dirty, policy->dirty_capacity);
            f64 dirty = smaller(entry->dirty, entry->dirtied * kept * held);
            written += entry->dirty - dirty;
            entry->dirty = dirty;
        }
        /* A granule that is gone for certain leaves the stack, which bounds its length. */
        if (entry->use >= forgotten) {
            slot_of[entry->granule] = NONE;
            entry->granule = NONE;
            living--;
        }
    }
    while (bottom < top && stack[bottom].granule == NONE) bottom++;
    return written;
}

/* Touch the granule at a place in the phase, whose entry is at `slot` or NONE; returns its entry. `so_far` are the bytes
   of the granules up to this one. Adds the bytes written back. */
static Entry touch(u32 at, u32 slot, f64 so_far, f64 *evicted) {
    const Access *access = &phase[at];
    Entry entry = {0, 0, 0, 0, 0, access->granule, 0}, *old = &stack[slot];
    if (slot != NONE) {
        /* Granules above it in the stack are counted already. */
        f64 use = phase_length > PAIRED ? old->use + so_far - newly[at] : old->use + used_before(at, slot);
        f64 kept = survival(policy->kept, use, policy->capacity);
        entry.present = old->present * kept;
        entry.dirty = smaller(old->dirty, old->dirtied * kept);
        *evicted += old->dirty - entry.dirty;
        old->granule = NONE;
        old->moved = phase_start + at;
        if (slot < deepest) deepest = slot;
        living--;
    } else
        absent += newly[at];
    return entry;
}

/* Touch the granules of a phase; adds the bytes read from DRAM, and the bytes written back to it meanwhile. */
static int access(u32 length, f64 *from_dram, f64 *to_dram) {
    f64 read = 0, evicted = 0, so_far = 0;
    if (top > 2 * living + 1024) compact();
    if ((work_left -= length) < 0) return TOO_LONG;
    if (!fits((unsigned char *)(stack + top + length))) return NO_MEMORY;
    phase_length = length;
    deepest = NONE, absent = 0;
    for (u32 at = 0; at < length; at++) {
        const Access *access = &phase[at];
        slots[at] = slot_of[access->granule];
        so_far += newly[at] = larger(access->read * access->copies, access->written);
        Entry entry = touch(at, slots[at], so_far, &evicted);
        read += access->read - smaller(access->read, entry.present);
        entry.present = larger(entry.present, larger(access->read, access->written));
        entry.occupied = access->written > 0 ? entry.present : entry.present * access->copies;
        entry.dirty = entry.dirtied = larger(entry.dirty, access->written);
        /* It moves to the top of the stack. */
        slot_of[access->granule] = top;
        stack[top++] = entry;
        living++;
    }
    phase_start += length;
    *from_dram += read;
    *to_dram += evicted + age();
    return OK;
}

/* Run the phases of one kernel; adds the bytes that it reads and writes. */
static int run(const Touch *begin, const Touch *end, f64 *from_dram, f64 *to_dram) {
    u32 waves = 0, passes = 1;
    int reads = 0, writes = 0, error = OK;
    for (const Touch *touch = begin; touch < end; touch++) {
        if (touch->waves > waves) waves = touch->waves;
        if (touch->passes > passes) passes = touch->passes;
        *(touch->write ? &writes : &reads) = 1;
    }
    int together = waves == 0 || passes > 1; /* a tiled kernel writes the results of a wave at its end */
    u32 count = waves < 1 ? 1 : waves > MOST_WAVES ? MOST_WAVES : waves;
    f64 merged = (f64)(waves > 1 ? waves : 1) / count;
    for (u32 wave = 0; wave < count && begin < end && !error; wave++) {
        /* All passes but the last only read; the last one writes at its end. */
        for (u32 pass = passes - 1; pass > 0 && reads && !error; pass--)
            error = access(gather(begin, end, pass, 1, 0, wave, count, merged), from_dram, to_dram);
        if (!error && (together || reads))
            error = access(gather(begin, end, 0, 1, together, wave, count, merged), from_dram, to_dram);
        if (!error && !together && writes)
            error = access(gather(begin, end, 0, 0, 1, wave, count, merged), from_dram, to_dram);
    }
    return error;
}

/* Bytes that each of a step's `count` kernels reads and writes, where the step follows itself. `kernels` are the
   positions of their first touches, and the end of the last. Looks at no more than `most_work` granules; returns how
   many are left, or a negative number if the step is too large. */
__attribute__((export_name("simulate"))) i64 simulate(const Policy *of, const Touch *touches, const u32 *kernels,
                                                      u32 count, u32 storage_count, i64 most_work, f64 *read,
                                                      f64 *written) {
    policy = of;
    work_left = most_work;
    int error = prepare(touches, kernels, count, storage_count);
    /* The first round fills the L2 as the step before would; the second round is counted. */
    for (int round = 0; round < 2; round++)
        for (u32 kernel = 0; kernel < count && !error; kernel++) {
            read[kernel] = written[kernel] = 0;
            error = run(touches + kernels[kernel], touches + kernels[kernel + 1], &read[kernel], &written[kernel]);
        }
    return error ? -error : work_left;
}
