// The compiled half of Asio (ASIO_SEPARATE_COMPILATION): everything of it that is not a template is built here, once.
// The macros that shape it are on the asio::asio target (cmake/FindAsio.cmake) and are the same in every unit.

#include <asio/impl/src.hpp>
