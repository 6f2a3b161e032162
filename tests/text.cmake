# The tokenizer: equal to Hugging Face's (goldens), and its behaviour on hostile texts and files.
fmtrain_test(tokenizer_golden_test LIBRARY fmtrain_base LABELS golden TIMEOUT 60 SOURCES golden/tokenizer/tokenizer_golden_test.cpp)
fmtrain_test(tokenizer_test LIBRARY fmtrain_base LABELS unit TIMEOUT 60 SOURCES
  unit/text/tokenizer_test.cpp unit/text/tokenizer_files_test.cpp unit/text/tokenizer_equality_test.cpp)
