# What the tiled kernel in Cython keeps between passes, included by cython.pxi: what is known of the
# caller's rows and the memory behind it, what a pass begins and ends with, and the signal to
# waiting threads that another pass has begun.


cdef int _fill(Shared *w, const real[:, ::1] X) except -1:
    cdef int64_t bins[BINS]
    cdef Py_ssize_t c
    w.rows = &X[0, 0]
    memset(bins, 0, BINS * sizeof(int64_t))
    for c in range(w.n_chunks):
        with nogil:
            _fill_chunk(w, w.chunks + c, X, bins)
        PyErr_CheckSignals()  # Ctrl-C, where there are gigabytes to move
    w.square_sum = _total(bins)
    return 0


cdef void _fill_chunk(
    Shared *w, Chunk *chunk, const real[:, ::1] X, int64_t *bins
) noexcept nogil:
    cdef real *tile
    cdef Py_ssize_t listed[WIDTH]
    cdef Py_ssize_t t, f, i, first, last
    cdef double square, longest
    for t in range(chunk.first, chunk.last):
        longest = 0.0
        first, last = t * WIDTH, min((t + 1) * WIDTH, w.n)
        for i in range(first, last):
            square = 0.0
            for f in range(w.d):
                square += lab_rounded(<double> X[i, f] * <double> X[i, f])
            longest = fmax(longest, square)
            if w.lengths != NULL:
                w.lengths[i] = square
            chunk.squares += square
            if w.keeps:
                _deposit(square, bins)
        w.reach[t] = longest
        w.farthest = fmax(w.farthest, longest)
        if w.keeps:
            tile = <real *> chunk.tile
            if w.tiles != NULL:
                tile = <real *> w.tiles + first * w.d
            _list_failing(w, t, False, listed, tile)
            _gather(w, listed, last - first, tile)
            _find_ends(w, tile)
            if w.d <= MOST_FEATURES:
                _fit_ball(w, t, tile)
    _carry(bins)


cdef int _start(Shared *w, const real[:, ::1] centers) noexcept nogil:
    cdef real *packed = <real *> w.packed
    cdef Py_ssize_t j, f
    cdef double square, longest = 0.0
    if w.bounded:
        _drift_on(w, centers)
    for j in range(w.k):
        square = 0.0
        for f in range(w.d):
            (<real *> w.centers)[j * w.d + f] = centers[j, f]
            packed[(j // PANEL * w.d + f) * PANEL + j % PANEL] = -2 * centers[j, f]
            square += <double> centers[j, f] * <double> centers[j, f]
        (<real *> w.squares)[j] = <real> square
        longest = fmax(longest, square)
    for j in range(w.k, w.padded):
        (<real *> w.squares)[j] = <real> INFINITY
    for j in range(w.panels * PANEL):
        (<real *> w.names)[j] = <real> j
    _choose_tolerance(w, longest)
    _prepare_screening(w, longest, <const real *> w.rows)
    _begin_filtering(w)
    if w.filtering:
        _spread(w, <const real *> w.rows)
    lab_store(&w.done, 0)
    lab_store(&w.next, 0)  # last: from here on a helper that is late may take a chunk
    return 0


# Testing balls pays where it saves most of the work; where it did not, it is skipped for a growing
# number of passes. This affects time alone: labels are the same either way.
cdef void _begin_filtering(Shared *w) noexcept nogil:
    cdef bint possible = (
        w.keeps and 4 <= w.k <= MOST_FILTERED and w.d <= MOST_FEATURES and w.n >= 8 * w.k
    )
    cdef bint before = w.filtering
    cdef Py_ssize_t t
    w.filtering = possible and w.rest == 0
    if possible and w.rest > 0:
        w.rest -= 1
    if w.filtering and not before:
        for t in range(w.n_tiles):
            w.owner[t] = -1


cdef void _end_filtering(Shared *w) noexcept nogil:
    cdef Py_ssize_t c
    cdef double met = 0.0, left = 0.0
    for c in range(w.n_chunks):
        met += w.chunks[c].met
        left += w.chunks[c].left
    w.met = met / (fmax(<double> w.n, 1) * w.k)
    if w.filtering:
        w.pause = min(2 * w.pause + 1, 63) if left > w.worthwhile * w.n_tiles * w.k else 0
        w.rest = w.pause


cdef double _finish(Shared *w, const real *sample) noexcept nogil:
    cdef double inertia = 0.0
    cdef Py_ssize_t c
    _end_filtering(w)
    if w.keeps:
        _join(w, sample)
        return _inertia_from_sums(w, sample)
    for c in range(w.n_chunks):
        inertia += w.chunks[c].inertia
    return fmax(inertia, 0.0)


cdef class Bell:
    """Tells waiting threads that there is another pass."""

    cdef int64_t turn

    def ring(self):
        """Begin the next turn."""
        lab_add(&self.turn, 1)

    def now(self):
        """Return the turn."""
        return lab_add(&self.turn, 0)

    def wait(self, int64_t seen):
        """Wait a little for another turn than this; say whether it has come."""
        cdef Py_ssize_t spins
        cdef bint rung = False
        with nogil:
            for spins in range(SPINS):
                if lab_add(&self.turn, 0) != seen:
                    rung = True
                    break
                lab_pause()
        return rung


cdef class Tiles:
    """The caller's rows and what a pass over them needs; ``cython.py`` runs it."""

    cdef Shared w
    cdef object X  # kept alive
    cdef bint wide
    cdef Py_ssize_t itemsize
    cdef void *fixed[16]
    cdef void *varying[18]

    def __cinit__(self, X, Py_ssize_t n_clusters, bint keeps):
        cdef const double[:, ::1] X64
        cdef const float[:, ::1] X32
        if lab_level() < KMEANS_LAB_LEVEL:  # its loops would end the process
            raise RuntimeError(
                f"{__name__} has loops that this processor does not run; kernel='cython-tiled' "
                "picks those that it does"
            )
        self.X = X
        self.wide = X.itemsize == 8
        self.itemsize = 8 if self.wide else 4
        self.w.keeps = keeps
        self.w.met = 1.0
        if self.wide:
            X64 = X
            self._cut(X64.shape[0], X64.shape[1], n_clusters)
            _fill(&self.w, X64)
        else:
            X32 = X
            self._cut(X32.shape[0], X32.shape[1], n_clusters)
            _fill(&self.w, X32)
        if keeps:
            _lay_grid(&self.w, &self.fixed[14])
        self._use(n_clusters)

    def __dealloc__(self):
        cdef void *block
        for block in self.fixed:
            free(block)
        for block in self.varying:
            free(block)

    # Chunks depend on the shape only; many enough for threads to share, few enough for their sums
    # to stay small.
    cdef int _cut(self, Py_ssize_t n, Py_ssize_t d, Py_ssize_t k) except -1:
        cdef Shared *w = &self.w
        cdef Py_ssize_t c, f, slots = min(max(2**21 // (k * d), 4), 32)
        cdef Py_ssize_t share = max(_ceil(n, slots * WIDTH), 1024 // WIDTH)
        cdef Chunk *chunk
        w.n, w.d, w.n_tiles = n, d, _ceil(n, WIDTH)
        w.n_chunks = _ceil(w.n_tiles, share)
        w.next = w.n_chunks
        w.unit = 2.0 ** (-53 if self.wide else -24)
        w.tiny = 2.0 ** (-1022 if self.wide else -126)
        w.loss = 1e-9 + 4 * (d + 8) * U64
        w.bounded = w.keeps and d > UNBOUNDED
        w.worthwhile = 0.4 if w.bounded else 0.6
        w.span = _ceil(d, GROUP) * GROUP
        # A sixteenth of the rows at most, and one tile.
        tile = <char *> _room(&self.fixed[0], w.n_chunks * d * WIDTH * self.itemsize)
        if w.bounded or not w.keeps:  # rows are gathered
            w.lengths = <double *> _room(&self.fixed[12], n * sizeof(double))
        w.nearest = _room(&self.fixed[1], w.n_tiles * WIDTH * self.itemsize)
        w.reach = <double *> _room(&self.fixed[2], w.n_tiles * sizeof(double))
        w.chunks = <Chunk *> _room(&self.fixed[3], w.n_chunks * sizeof(Chunk))
        if w.keeps:
            if w.bounded:
                w.slack = _room(&self.fixed[13], n * self.itemsize)
            if d <= MOST_COPIED:
                w.tiles = _room(&self.fixed[15], w.n_tiles * WIDTH * d * self.itemsize)
            w.middle = _room(&self.fixed[4], w.n_tiles * d * self.itemsize)
            w.square = _room(&self.fixed[5], w.n_tiles * self.itemsize)
            w.near = <int32_t *> _room(&self.fixed[6], w.n_tiles * sizeof(int32_t))
            w.owner = <int32_t *> _room(&self.fixed[7], w.n_tiles * sizeof(int32_t))
            w.highest = <int64_t *> _room(&self.fixed[8], d * sizeof(int64_t))
            w.lowest = <int64_t *> _room(&self.fixed[9], d * sizeof(int64_t))
            w.top = <int *> _room(&self.fixed[10], d * sizeof(int))
            w.units = <double *> _room(&self.fixed[11], d * sizeof(double))
            for f in range(d):
                w.lowest[f] = FRACTION | (<int64_t> 2047 << 52)
        for c in range(w.n_chunks):
            chunk = w.chunks + c
            chunk.tile = tile + c * d * WIDTH * self.itemsize
            chunk.first = c * share
            chunk.last = min((c + 1) * share, w.n_tiles)
            chunk.n_rows = min(chunk.last * WIDTH, n) - chunk.first * WIDTH
        return 0

    cdef int _use(self, Py_ssize_t k) except -1:
        cdef Shared *w = &self.w
        cdef Py_ssize_t t
        w.k = 0
        w.panels = _ceil(k, PANEL)
        w.padded = _ceil(k, LANES) * LANES
        w.packed = _room(&self.varying[0], w.panels * PANEL * w.d * self.itemsize)
        w.squares = _room(&self.varying[1], w.padded * self.itemsize)
        w.centers = _room(&self.varying[2], k * w.d * self.itemsize)
        w.names = _room(&self.varying[5], w.panels * PANEL * self.itemsize)
        if self.wide and w.keeps and k <= MOST_NAMED and w.d <= MOST_SUMMED:
            w.screen_packed = _room(&self.varying[15], w.panels * w.d * PANEL * sizeof(float))
            w.screen_squares = _room(&self.varying[16], w.panels * PANEL * sizeof(float))
            w.screen_names = _room(&self.varying[17], w.panels * PANEL * sizeof(float))
        else:
            w.screen_packed = NULL
        if w.keeps:
            self._use_sums(k)
        if w.keeps and k <= MOST_FILTERED and w.d <= MOST_FEATURES:
            w.across = _room(&self.varying[8], w.d * w.padded * self.itemsize)
            w.apart = _room(&self.varying[9], k * w.padded * self.itemsize)
            for t in range(w.n_tiles):  # they name centers
                w.near[t] = 0
        w.filtering = False
        if self.wide:
            _forget(w, <double *> w.nearest)
        else:
            _forget(w, <float *> w.nearest)
        w.k = k
        return 0

    cdef int _use_sums(self, Py_ssize_t k) except -1:
        cdef Shared *w = &self.w
        cdef Py_ssize_t c, size = w.limbs * w.span, line = _ceil(k, 64) * 64
        w.sums = <int64_t *> _room(&self.varying[3], w.n_chunks * k * size * sizeof(int64_t))
        w.counts = <int64_t *> _room(&self.varying[4], w.n_chunks * k * sizeof(int64_t))
        w.total_sums = <double *> _room(&self.varying[6], k * w.d * sizeof(double))
        w.total_counts = <int64_t *> _room(&self.varying[7], k * sizeof(int64_t))
        w.touched = <unsigned char *> _room(&self.varying[10], w.n_chunks * line)
        w.whole = <int64_t *> _room(&self.varying[11], (size + w.limbs) * sizeof(int64_t))
        w.drift = <double *> _room(&self.varying[12], k * sizeof(double))
        w.way = <double *> _room(&self.varying[13], k * sizeof(double))
        w.need = _room(&self.varying[14], (k + 1) * self.itemsize)
        for c in range(w.n_chunks):
            w.chunks[c].sums = w.sums + c * k * size
            w.chunks[c].counts = w.counts + c * k
            w.chunks[c].touched = w.touched + c * line
        return 0

    @property
    def rescored(self):
        """Near-ties decided by direct differences so far."""
        cdef Py_ssize_t c
        return sum([self.w.chunks[c].rescored for c in range(self.w.n_chunks)])

    @property
    def met(self):
        """Share of all pairs of row and center that the last pass looked at."""
        return self.w.met

    def read_gaps(self, double[::1] gaps):
        """Write how much nearer each row's center is than any other, at least; ≤ 0: unknown."""
        if self.wide:
            _read_gaps(&self.w, gaps, <double *> NULL)
        else:
            _read_gaps(&self.w, gaps, <float *> NULL)

    def start(self, centers, int32_t[::1] labels):
        """Take new centers, and labels to overwrite; free the chunks for taking."""
        self.w.labels = &labels[0]
        cdef const double[:, ::1] c64
        cdef const float[:, ::1] c32
        if self.wide:
            c64 = centers
            if c64.shape[0] != self.w.k:
                self._use(c64.shape[0])
            _start(&self.w, c64)
        else:
            c32 = centers
            if c32.shape[0] != self.w.k:
                self._use(c32.shape[0])
            _start(&self.w, c32)

    def run(self):
        """Compute chunks until none is left."""
        with nogil:
            if self.wide:
                _run(&self.w, <double *> NULL)
            else:
                _run(&self.w, <float *> NULL)

    def stop(self):
        """End the pass at hand where it is; when this returns, no thread is in it any more."""
        lab_store(&self.w.next, ENDED)
        with nogil:
            while lab_add(&self.w.inside, 0) > 0:  # as long as a tile takes
                lab_pause()

    def wait(self):
        """Wait a little for the chunks of others; say whether all are done."""
        cdef Py_ssize_t spins
        cdef bint done = False
        with nogil:
            for spins in range(SPINS):
                if lab_add(&self.w.done, 0) >= self.w.n_chunks:
                    done = True
                    break
                lab_pause()
        return done

    def finish(self):
        """Return the inertia when all chunks are done."""
        cdef double inertia
        with nogil:
            if self.wide:
                inertia = _finish(&self.w, <double *> NULL)
            else:
                inertia = _finish(&self.w, <float *> NULL)
        return inertia

    def add_sums(self, double[:, ::1] sums, int64_t[::1] counts):
        """Add what the chunks have summed."""
        cdef Py_ssize_t j, f
        with nogil:
            for j in range(self.w.k):
                for f in range(self.w.d):
                    sums[j, f] += self.w.total_sums[j * self.w.d + f]
                counts[j] += self.w.total_counts[j]

    def update(self, const int32_t[::1] labels, double[:, ::1] sums, int64_t[::1] counts):
        """Add each label's sum of rows, rounded once; no sum changes where a label names none."""
        cdef Py_ssize_t k = counts.shape[0], size = self.w.limbs * self.w.span
        cdef bint right = False
        cdef void *blocks[3]
        memset(blocks, 0, sizeof(blocks))
        try:
            room = <int64_t *> _room(&blocks[0], ((k + 1) * size + k + self.w.limbs) * 8)
            rounded = <double *> _room(&blocks[1], self.w.d * sizeof(double))
            touched = <unsigned char *> _room(&blocks[2], k)
            with nogil:
                if self.wide:
                    right = _update(
                        &self.w, labels, sums, counts, room, rounded, touched, <double *> NULL
                    )
                else:
                    right = _update(
                        &self.w, labels, sums, counts, room, rounded, touched, <float *> NULL
                    )
        finally:
            for block in blocks:
                free(block)
        if not right:
            raise _wrong_labels("update", "sums")


cdef inline Py_ssize_t _ceil(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


# Zeros that begin at a cache line, so that no vector lies across two.
cdef void *_room(void **block, Py_ssize_t size) except NULL:
    free(block[0])
    block[0] = calloc(size + 64, 1)
    if block[0] == NULL:
        raise MemoryError(f"prepare needs {size} bytes more")
    return <void *> ((<uintptr_t> block[0] + 63) & ~<uintptr_t> 63)
