// Which compiler built a module: the first words of its BUILD.

#pragma once

#if defined(__clang__)
#define KMEANS_LAB_COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define KMEANS_LAB_COMPILER "gcc " __VERSION__
#else
#define KMEANS_LAB_COMPILER "msvc"
#endif
