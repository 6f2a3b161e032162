fmtrain_test(report_html_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES
  unit/report/svg_test.cpp unit/report/report_html_test.cpp)
